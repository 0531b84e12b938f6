"""OpenNebula's documents: one hardened parser, and typed access to what is in them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from storpool_addon.errors import AddonError, UsageError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from lxml.etree import _Element

MAX_DOCUMENT = 64 << 20
# What takes longer to read with the standard library's parser than lxml takes to be imported: pools, mostly.
_LARGE = 1 << 19
TRUTHY = frozenset(("1", "Y", "YES", "T", "TRUE", "ON"))
# oned counts sizes in MiB and StorPool in bytes, both in signed 64 bits.
MAX_SIZE_MIB = (1 << 43) - 1

# oned writes the root element at once, at most after an XML declaration. A DTD, and so every entity, could
# only stand between the two: asking for `<letter` there rules them out before a parser sees the document.
_ROOT_AT_ONCE = re.compile(rb"(?:<\?xml [^<>]{0,100}\?>\s*)?<[A-Za-z_]")
_DECLARES_ENCODING = re.compile(rb"\s*<\?xml [^<>]*encoding")
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


# What `walk` finds: name and text of an element and what is in it, by name; and of one that has such in it.
Vector = tuple[str, str, dict[str, str]]
Part = tuple[str, str, list[Vector]]


class Attributes(dict[str, str]):
    """The plain attributes of a template: name to text. Its repr shows no values, as some are secrets."""

    def __repr__(self) -> str:
        return f"Attributes({', '.join(sorted(self))})"


class Node:
    """An element, with the name of its object for error texts ("VM 42").

    Paths are relative, in ElementPath ("TEMPLATE/DISK"); an element that is missing reads like an empty one.
    """

    __slots__ = ("_element", "_error", "name")

    def __init__(self, element: Element, name: str, error: type[AddonError] = UsageError) -> None:
        self._element = element
        self._error = error
        self.name = name

    @property
    def tag(self) -> str:
        """The element's own name."""
        return str(self._element.tag)

    def named(self, name: str) -> Node:
        """The same element, under the name of the object that it was found to be."""
        return Node(self._element, name, self._error)

    def text(self, path: str, default: str = "") -> str:
        """The text of the first element at `path`, stripped; `default` when there is none."""
        found = self._element.findtext(path)
        return (found or "").strip() or default

    def number(self, path: str, default: int | None = None) -> int:
        """A whole number; `default` when it is missing or empty, an error when there is no default."""
        text = self.text(path)
        if not text and default is not None:
            return default
        if not _NUMBER.fullmatch(text):
            raise self.wrong(path, text, "a whole number")
        return int(text)

    def size_mib(self, path: str) -> int:
        """A size in MiB, 0 when it is not given."""
        size = self.number(path, 0)
        if not 0 <= size <= MAX_SIZE_MIB:
            raise self.wrong(path, self.text(path), f"a size in MiB from 0 to {MAX_SIZE_MIB}")
        return size

    def flag(self, path: str, default: bool = False) -> bool:
        """Whether the text is one of 1, Y, YES, T, TRUE, ON; `default` when it is missing or empty."""
        text = self.text(path)
        return is_true(text) if text else default

    def numbers(self, path: str) -> tuple[int, ...]:
        """The whole numbers at `path`, in document order."""
        return tuple(node.number(".") for node in self.nodes(path))

    def node(self, path: str) -> Node | None:
        """The first element at `path`."""
        found = self._element.find(path)
        return None if found is None else Node(found, self.name, self._error)

    def required(self, path: str) -> Node:
        """The first element at `path`; an error when there is none."""
        found = self.node(path)
        if found is None:
            raise self._error(f"{self.name} has no {path}")
        return found

    def nodes(self, path: str) -> Iterator[Node]:
        """All elements at `path`."""
        for found in self._element.iterfind(path):
            yield Node(found, self.name, self._error)

    def attributes(self, path: str = ".") -> Attributes:
        """The children at `path` that hold text and no further elements; of a repeated name, the last."""
        parent = self._element.find(path)
        if parent is None:
            return Attributes()
        return Attributes((each.tag, (each.text or "").strip()) for each in parent if not len(each))

    def walk(self, *names: str) -> list[Part]:
        """The elements of these names: those right below, with those below them, with the texts in those.

        One walk, for pools of many objects, where a `Node` for each element would take most of the time.
        """
        if hasattr(self._element, "getparent"):
            return _walk(self._element, names)
        return [
            (part.tag, part.text or "", [_vector(each, names) for each in _below(part, names)])
            for part in _below(self._element, names)
        ]

    def whole(self, name: str, text: str) -> int:
        """The text of an element of that name as a whole number, an error when it is none."""
        plain = text.strip()
        if not _NUMBER.fullmatch(plain):
            raise self.wrong(name, plain, "a whole number")
        return int(plain)

    def write(self, name: str, text: str) -> None:
        """Give the child of that name this text, for documents that are handed on; a new one if need be."""
        found = self._element.find(name)
        if found is None:
            found = self._element.makeelement(name, {})
            self._element.append(found)
        found.text = text

    def remove(self, name: str) -> None:
        """Take all elements of that name, wherever they are, out of a document that is handed on."""
        for parent in list(self._element.iter()):
            for found in parent.findall(name):
                parent.remove(found)

    def document(self) -> bytes:
        """The element as a document, as oned writes them: in UTF-8, without a declaration."""
        from copy import copy
        from xml.etree.ElementTree import tostring

        alone = copy(self._element)
        alone.tail = None
        # A carriage return that is written as such would be read as the end of a line.
        return tostring(alone, encoding="unicode").replace("\r", "&#13;").encode()

    def wrong(self, path: str, text: str, wanted: str) -> AddonError:
        """The error for an element that does not hold what is wanted."""
        what = f"is {text[:80]!r}" if text else "is missing"
        return self._error(f"{self.name}: {path} {what}; {wanted} is expected")


def parse(document: bytes, source: str = "standard input", error: type[AddonError] = UsageError) -> Node:
    """The root element of a document, plain or in base64; `error` when it is not XML as oned writes it.

    source: where the document came from, for error texts.
    """
    plain = decoded(document, source, error)
    if not _ROOT_AT_ONCE.match(plain.lstrip()):
        raise error(f"{source} is not XML as OpenNebula writes it: it does not begin with an element")
    return Node(_parse_plain(plain, source, error), source, error)


def decoded(document: bytes, source: str = "standard input", error: type[AddonError] = UsageError) -> bytes:
    """A document that may be in base64, as local actions of the VM driver get it, in plain XML."""
    if len(document) > MAX_DOCUMENT:
        raise error(f"{source} is larger than {MAX_DOCUMENT >> 20} MiB")
    if not document.strip():
        raise error(f"{source} is empty; an XML document is expected")
    return document if document.lstrip()[:1] == b"<" else _decode(document, source, error)


@lru_cache(maxsize=64)
def is_true(text: str) -> bool:
    """Whether OpenNebula's users mean yes by that text."""
    return text.strip().upper() in TRUTHY


def _decode(document: bytes, source: str, error: type[AddonError]) -> bytes:
    from binascii import Error, a2b_base64

    try:
        return a2b_base64(document)
    except Error as reason:
        raise error(f"{source} is neither XML nor base64: {reason}") from None


def tree(
    document: bytes, source: str, error: type[AddonError] = UsageError, *, whole: bool = False
) -> _Element:
    """The root of a document, which can name no file and no entity.

    whole: with comments, instructions and CDATA sections as they are.
    """
    from lxml.etree import XMLSyntaxError, fromstring

    try:
        root: _Element = fromstring(document, _parser(whole))
    except XMLSyntaxError as reason:
        raise error(f"{source} is not XML: {' '.join(str(reason.msg).split())[:200]}") from None
    return root


def _parse_plain(document: bytes, source: str, error: type[AddonError]) -> Element:
    """An element of the standard library, or one of lxml, which has the same methods."""
    if not _DECLARES_ENCODING.match(document):
        # oned keeps what clients sent: one bad byte in a note must not make a VM impossible to delete.
        document = document.decode("utf-8", "replace").encode()
    if len(document) > _LARGE:
        return tree(document, source, error)  # type: ignore[return-value]
    from xml.etree.ElementTree import ParseError, fromstring

    try:
        return fromstring(document)
    # An encoding that is declared and unknown is a LookupError, one of several bytes a ValueError.
    except (ParseError, LookupError, ValueError) as reason:
        raise error(f"{source} is not XML: {' '.join(str(reason).split())[:200]}") from None


@cache
def _parser(whole: bool) -> Any:
    from lxml.etree import XMLParser

    # huge_tree: a pool of VMs arrives as one text node, and libxml2 ends those at 10 MB otherwise.
    return XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=True,
        strip_cdata=not whole,
        remove_comments=not whole,
        remove_pis=not whole,
    )


def _below(element: Element, names: Collection[str]) -> Iterable[Element]:
    """The children of these names."""
    return (each for each in element if each.tag in names)


def _vector(element: Element, names: Collection[str]) -> Vector:
    return element.tag, element.text or "", {each.tag: each.text or "" for each in _below(element, names)}


def _walk(top: Any, names: tuple[str, ...]) -> list[Part]:
    """`Node.walk` with lxml, which makes an object of all that is looked at, and an iterator each time."""
    found: list[Part] = []
    part = vector = None
    vectors: list[Vector] = []
    values: dict[str, str] = {}
    for each in top.iter(*names):
        # An element's object stays the same one as long as somebody has it.
        above, tag = each.getparent(), each.tag
        if above is vector:
            values[tag] = each.text or ""
        elif above is part:
            vector, values = each, {}
            vectors.append((tag, each.text or "", values))
        elif above is top:
            part, vector, vectors = each, None, []
            found.append((tag, each.text or "", vectors))
    return found
