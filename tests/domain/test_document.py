from __future__ import annotations

import io

import pytest
from lxml import etree

from storpool_addon.domain.document import Domain
from storpool_addon.errors import UsageError
from tests.domain import golden

BASES = sorted(path.name for path in golden.BASES.iterdir())


def meaning(document: bytes) -> bytes:
    out = io.BytesIO()
    etree.fromstring(document).getroottree().write_c14n(out, with_comments=True)
    return out.getvalue()


ODD = (
    "<?xml version='1.0' encoding='utf-8'?>\n<!--\nAUTO-GENERATED. - -\n-->\n<?keep me??>\n"
    "<domain type='kvm' id='3' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' xmlns:u='urn:unused'>"
    "<name>a&amp;b &#13;&#10; é</name><!-- between --><description>x<![CDATA[<&>]]>y</description>\n"
    "<metadata><x:a xmlns:x='urn:a' x:b='1'/><a xmlns='urn:default'><b/></a><?in side?></metadata>"
    "<q:commandline><q:arg value='a&#9;&lt;b'/></q:commandline></domain>\n<!-- after -->\n"
).encode()


@pytest.mark.parametrize(
    "document", [ODD, *((golden.BASES / base / "domain.xml").read_bytes() for base in BASES)]
)
def test_untouched_means_the_same(document: bytes) -> None:
    written = Domain.parse(document).write()
    assert meaning(written) == meaning(document)
    assert written.count(b"<![CDATA[") == document.count(b"<![CDATA[")
    assert written.startswith(b"<?xml") == document.startswith(b"<?xml")
    assert Domain.parse(written).write() == written


NO_ROOT = "is not XML as libvirt writes it: it does not begin with an element"
BOMB = b"<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><domain><name>&b;</name></domain>"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", NO_ROOT),
        (b"not xml", NO_ROOT),
        (b" " * 100_000 + b"x", NO_ROOT),
        (BOMB, NO_ROOT),
        (b"<?a ??>" + BOMB.replace(b"]>", b"]><?b ?>"), NO_ROOT),
        (b"<!-- a -->" + BOMB.replace(b"]>", b"]><!-- b -->"), NO_ROOT),
        (b"<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>", NO_ROOT),
        (b"<domain><name>&e;</name></domain>", "is not XML: "),
        (b"<domain><name>x</domain>", "is not XML: "),
        (b"<domain/><domain/>", "is not XML: "),
        (b"<domain><name>\xff\xfe</name></domain>", "is not XML: "),
        ("<domain/>".encode("utf-16"), NO_ROOT),
        (b"<?xml version='1.0' encoding='utf-7'?><domain/>", "is in utf-7; UTF-8 is expected"),
        (b"<VM><ID>1</ID></VM>", "holds a VM and no domain"),
        (b"<domain xmlns='urn:x'/>", "holds a {urn:x}domain and no domain"),
        (b"<domain>" + b" " * (64 << 20), "is larger than 64 MiB"),
    ],
    ids=lambda given: given[:20] if isinstance(given, bytes) else "",
)
def test_what_is_no_domain(document: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        Domain.parse(document, "the domain of VM 42")
    assert f"the domain of VM 42 {reason}" in str(error.value)
    assert "\n" not in str(error.value)


def test_ten_megabytes() -> None:
    disks = b"<disk type='file'><source file='/x/disk.7'/></disk>" * 60_000
    note = b"<description>" + b"x" * (11 << 20) + b"</description>"
    for document in (
        b"<domain>" + note + b"</domain>",
        b"<domain><devices>" + disks + b"</devices></domain>",
    ):
        domain = Domain.parse(document)
        assert domain.write().strip() == document.replace(b"'", b'"')
    assert sum(disk.disk_id == 7 for disk in domain.disks) == 60_000


def test_adding_to_what_is_absent_repeated_and_on_one_line() -> None:
    domain = Domain.parse(b"<domain>\n  <name>x</name>\n  <devices/>\n</domain>")
    domain.set("cpu/topology", sockets="2")
    domain.ensure("devices/disk")
    domain.set("vcpu", "3")
    assert domain.write() == (
        b'<domain>\n  <name>x</name>\n  <cpu>\n    <topology sockets="2"/>\n  </cpu>\n  <vcpu>3</vcpu>\n'
        b"  <devices>\n    <disk/>\n  </devices>\n</domain>\n"
    )
    for path in ("cpu", "vcpu", "devices/disk"):
        domain.remove(path)
    assert domain.write() == b"<domain>\n  <name>x</name>\n  <devices/>\n</domain>\n"
    domain = Domain.parse(b"<domain><os a='1'><x/></os><devices/><os a='2' b='3'>\n<y/>\n</os>t<z/></domain>")
    domain.replace("os/x", "new", {"c": "4"})
    assert domain.write() == b'<domain><os a="1" b="3"><x c="4">new</x><y/></os><devices/>t<z/></domain>\n'
