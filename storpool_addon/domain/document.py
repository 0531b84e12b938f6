"""A libvirt domain as a document: read once, changed in place, written once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from storpool_addon.domain.disk import Disk
from storpool_addon.domain.layout import insert, merge, remove
from storpool_addon.errors import UsageError
from storpool_addon.opennebula.xml import MAX_DOCUMENT, tree

if TYPE_CHECKING:
    from lxml.etree import _Element

# A DTD, and so every entity, could only stand between the start and the root element: a document that has
# nothing there but a declaration, comments and processing instructions is safe before libxml2 sees it.
_COMMENT, _INSTRUCTION = rb"<!--(?:[^-]|-[^-])*-->", rb"<\?(?:[^?]|\?+[^?>])*\?+>"
_ROOT_WITHOUT_DTD = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|" + _COMMENT + b"|" + _INSTRUCTION + rb")*<[A-Za-z_]"
)
_ENCODING = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\s[^<>]*encoding\s*=\s*[\"']([^\"']*)", re.ASCII)
_ENCODINGS = (b"utf-8", b"us-ascii", b"ascii")


class Domain:
    """A domain; `root` and all below it are lxml's elements.

    Paths are relative to the root, in ElementPath. oned itself writes several `<devices>`, and libvirt reads
    them as one; raw data of users may repeat any other element. Asking looks into all of them; the first that
    a tweak adds to takes in what the others have.
    """

    __slots__ = ("_declared", "root")

    def __init__(self, root: _Element, declared: bool = False) -> None:
        self.root = root
        self._declared = declared

    @classmethod
    def parse(cls, document: bytes, source: str = "the domain") -> Domain:
        """The domain in a document; UsageError when it is none. source: where it is from, for error texts."""
        if len(document) > MAX_DOCUMENT:
            raise UsageError(f"{source} is larger than {MAX_DOCUMENT >> 20} MiB")
        declared = _ENCODING.match(document)
        if declared and declared[1].lower() not in _ENCODINGS:
            raise UsageError(
                f"{source} is in {declared[1][:40].decode('ascii', 'replace')}; UTF-8 is expected"
            )
        if not _ROOT_WITHOUT_DTD.match(document):
            raise UsageError(f"{source} is not XML as libvirt writes it: it does not begin with an element")
        root = tree(document, source, whole=True)
        if root.tag != "domain":
            raise UsageError(f"{source} holds a {str(root.tag)[:80]} and no domain")
        return cls(root, declared=document.lstrip(b"\xef\xbb\xbf").startswith(b"<?xml "))

    def write(self) -> bytes:
        """The document, in UTF-8."""
        from lxml.etree import tostring

        tree = self.root.getroottree()
        return bytes(tostring(tree, encoding="UTF-8", xml_declaration=self._declared)) + b"\n"

    def find(self, path: str) -> _Element | None:
        """The first element at `path`."""
        return self.root.find(path)

    def all(self, path: str) -> list[_Element]:
        """All elements at `path`; a list, so that they may be moved and removed meanwhile."""
        return self.root.findall(path)

    def text(self, path: str) -> str:
        """The text of the first element at `path`, stripped; "" when there is none."""
        return (self.root.findtext(path) or "").strip()

    def number(self, path: str) -> int | None:
        """The whole number of the first element at `path`; None when there is none."""
        return whole(self.text(path))

    def ensure(self, path: str) -> _Element:
        """The element at `path`, made with its parents where they are absent, merged where there are several.

        path: names with slashes between them.
        """
        element = self.root
        for name in path.split("/"):
            found = element.findall(name)
            element = merge(found) if found else insert(element, name)
        return element

    def set(self, path: str, text: str = "", /, **attributes: str) -> _Element:
        """The element at `path` with that text and these attributes; others that it has stay."""
        element = self.ensure(path)
        element.text = text or element.text
        for name, value in attributes.items():
            element.set(name, value)
        return element

    def replace(self, path: str, text: str = "", attributes: Mapping[str, str] | None = None) -> _Element:
        """The only element at `path`, with that text and these attributes and nothing else."""
        element = self.ensure(path)
        tail = element.tail
        element.clear()
        element.tail = tail
        element.text = text or None
        for name, value in (attributes or {}).items():
            element.set(name, value)
        return element

    def unify(self) -> None:
        """Make one `devices` and one `features` of several: the same for libvirt, and valid by its schema."""
        for name in ("devices", "features"):
            if self.find(name) is not None:
                self.ensure(name)

    def remove(self, path: str) -> None:
        """Take out all elements at `path`."""
        for element in self.all(path):
            remove(element)

    @property
    def disks(self) -> Iterator[Disk]:
        """The disks, in the document's order."""
        for element in self.all("devices/disk"):
            yield Disk(element)

    @property
    def machine(self) -> str:
        """The machine type: pc, q35, pc-q35-7.2, …; "" when oned leaves it to libvirt."""
        found = self.find("os/type")
        return "" if found is None else str(found.get("machine", ""))

    @property
    def is_q35(self) -> bool:
        """Whether the machine has PCI Express, SATA, and no IDE."""
        return "q35" in self.machine

    @property
    def vcpus(self) -> int:
        """The number of CPUs that the guest may have; libvirt's own default is one."""
        return self.number("vcpu") or 1


def whole(text: str) -> int | None:
    """The whole number that a text is, of no more digits than anything in a domain has; else None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
