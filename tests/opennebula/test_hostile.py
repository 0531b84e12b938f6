"""Documents and files that were damaged at random: each is read, or refused with an error of ours."""

from __future__ import annotations

import random
from collections.abc import Callable
from xml.etree.ElementTree import fromstring

import pytest

from storpool_addon.config.shell import Reader
from storpool_addon.errors import AddonError
from storpool_addon.opennebula import rpc
from storpool_addon.opennebula.action import DatastoreAction, VmmAction
from storpool_addon.opennebula.answer import text_of
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.vm import Vm
from tests.opennebula.documents import document
from tests.opennebula.fakeoned import success

ROUNDS = 150
PIECES = (
    b"", b"<", b">", b"&", b"&amp;", b"\x00", b"\xff", b"]]>", b"<![CDATA[", b"<ID>", b"</ID>", b"-1",
    b"9" * 30, b"<DISK>", b"<!DOCTYPE x>", b"<?x?>", b"\xc3\xa9", b"\n", b" ", b"<VM/>",
)  # fmt: skip
SHELL = (
    b"", b"$", b"${", b"}", b"'", b'"', b"\\", b"`", b"$(", b"#", b"\n", b"=", b"+=", b"[", b"]", b";", b" ",
    b"A", b"A=", b":-", b"\xff", b"export ", b"declare -A M\n", b"$A", b"${A:-", b"\\\n",
)  # fmt: skip
CALL = "one.vm.info(42)"


def damaged(original: bytes, pieces: tuple[bytes, ...], chance: random.Random) -> bytes:
    """Some spans replaced by pieces, and sometimes the end cut off."""
    result = original
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(result) + 1)
        result = result[:start] + chance.choice(pieces) + result[start + chance.choice((0, 0, 1, 5, 40)) :]
    return result[: chance.randrange(len(result) + 1)] if chance.random() < 0.2 else result


@pytest.mark.parametrize(
    ("read", "original"),
    [
        (Vm.parse, document("vm_running.xml")),
        (VmmAction.parse, document("vmm_attach_disk.xml")),
        (DatastoreAction.parse, document("ds_cp.xml")),
        (DatastoreAction.parse, document("ds_snap_revert.xml.b64")),
        (lambda answer: rpc.decode(answer, CALL), success("<VM/>").partition(b"\r\n\r\n")[2]),
    ],
    ids=["VM", "VMM action", "datastore action", "base64", "answer of oned"],
)
def test_damaged_document(read: Callable[[bytes], object], original: bytes) -> None:
    chance = random.Random(42)
    refused = 0
    for _ in range(ROUNDS):
        try:
            read(damaged(original, PIECES, chance))
        except AddonError as error:
            refused += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 400
    assert 0 < refused <= ROUNDS


def test_damaged_configuration() -> None:
    original = (
        b'# comment\nexport ONE_PX="${ONE_PX:-one}" # x\nA=\'b c\'; B="x $A"\nM[ceph]=1\nC=${B:-${A}}\n' * 3
    )
    chance = random.Random(42)
    refused = 0
    for _ in range(ROUNDS * 20):
        text = damaged(original, SHELL, chance).decode("utf-8", "replace")
        try:
            Reader(text, "rc", lambda _name: "").read()
        except AddonError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 0 < refused < ROUNDS * 20


def test_damaged_location() -> None:
    original = b"node1:/var/lib/one//datastores/100/42/disk.3"
    pieces = (b"", b":", b"/", b"..", b"\n", b" ", b"$", b"-", b"\xc3\xa9", b"disk.", b"9" * 20)
    chance = random.Random(42)
    for _ in range(ROUNDS * 10):
        text = damaged(original, pieces, chance).decode("utf-8", "replace")
        try:
            location = Location.parse(text)
        except ValueError:
            continue
        assert location.path.startswith("/")
        assert "//" not in location.path
        assert ".." not in location.path.split("/")
        assert not location.host.startswith("-")
        assert location.path.isprintable()


def test_an_answer_is_unpacked_as_a_parser_would() -> None:
    """Every text comes through; of a damaged answer what a parser reads, or it is left to that."""
    chance, taken = random.Random(42), 0
    texts = ["", "<VM><A><![CDATA[x & y]]></A></VM>", "&amp;lt; ]]> \"'é\u2028", "a\r\nb\rc\td", " x "]
    declared = (b"", b'<?xml version="1.0" encoding="UTF-8"?>\r\n', b"<?xml version='1.0'?>\n")
    for text in texts:
        whole = success(text).partition(b"\r\n\r\n")[2].replace(b"\r", b"&#x0d;").partition(b"?>")[2]
        for head in declared:
            assert text_of(head + whole) == text.strip()
            for _ in range(4 * ROUNDS):
                answer = damaged(head + whole, PIECES, chance)
                found = text_of(answer)
                if found is not None and "\0" not in found:
                    taken += 1
                    values = fromstring(answer.decode("utf-8", "replace").encode()).iter("string")
                    assert [(each.text or "").strip() for each in values] == [found], answer
    assert taken > 50
    latin = b'<?xml version="1.0" encoding="ISO-8859-1"?>' + whole
    assert [text_of(each) for each in (latin, whole[:-9], whole + b"x", b"")] == [None] * 4
