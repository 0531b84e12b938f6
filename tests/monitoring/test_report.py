"""The report about the disks of VMs: from what StorPool and oned send to what monitord reads."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.errors import (
    AddonError,
    ConfigError,
    OpenNebulaError,
    StorPoolLost,
    StorPoolNonsense,
    StorPoolRefused,
)
from storpool_addon.monitoring.message import message, messages
from storpool_addon.monitoring.report import Rules, Told, told
from storpool_addon.monitoring.rsa import PublicKey
from storpool_addon.monitoring.sizes import Sizes, Wanted
from storpool_addon.opennebula.usage import usages
from storpool_addon.opennebula.xml import parse
from storpool_addon.storpool.streaming import elements

MIB = 1 << 20
RUNNING = (Path(__file__).parents[1] / "data/opennebula-xml/vm_running.xml").read_text()
KNOWN = {
    "one-img-7-42-0": 5 * MIB, "one-img-7-42-0-snap0": 1, "one-img-7-42-0-ONESNAP-0-1769003000": 3,
    "one-img-8": 22010 * MIB, "one-img-8-snap0": 2 * MIB, "one-img-8-snap1": 0, "one-img-9-42-2": MIB + 1,
    "one-sys-42-3-raw": 7 * MIB, "one-sys-42-4-swap": 0,
}  # fmt: skip


def entry(name: str, used: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "storedSize": 1, "spaceUsed": used, "tags": {"nloc": "one"}, **more}


def report(page: str, known: dict[str, int], **rules: Any) -> list[Told | AddonError]:
    sizes = Sizes(Wanted("one-", "nloc", "one"))
    sizes.add(entry(name, size) for name, size in known.items())
    pool = parse(f"<VM_POOL>{page}</VM_POOL>".encode(), "pool", OpenNebulaError)
    lookups = {100: sizes.of, 101: sizes.of}
    return list(told(usages(pool), Rules("one", lookups)._replace(**rules)))


def words(line: bytes) -> tuple[str, list[str]]:
    match = re.fullmatch(rb'VM=\[ID="(\d+)",MONITOR="([^"]*)"\]\n', line)
    assert match
    return match[1].decode(), base64.b64decode(match[2], validate=True).decode().splitlines()


def test_every_kind_of_disk_by_its_exact_name() -> None:
    """CDROM, volatile, swap, persistent and cloned; sizes that are not known are left out and counted."""
    (found,) = report(RUNNING, KNOWN, vm_snapshots=True)
    assert isinstance(found, Told)
    vm, lines = words(found.line)
    assert vm == "42" and found.datastore_id == 100
    sizes = {
        match[1]: int(match[2])
        for line in lines
        if (match := re.fullmatch(r'DISK_SIZE=\[ID="(\d+)",SIZE="(\d+)"\]', line))
    }
    assert sizes == {"0": 5, "1": 22010, "2": 2, "3": 7, "4": 0}
    assert 'SNAPSHOT_SIZE=[ID="0",DISK_ID="1",SIZE="2"]' in lines
    before = found.unknown
    (less,) = report(RUNNING, {key: size for key, size in KNOWN.items() if key != "one-img-8"})
    assert isinstance(less, Told) and less.unknown == before + 1
    assert not any(line.startswith('DISK_SIZE=[ID="1"') for line in words(less.line)[1])


def test_neighbours_and_strangers_are_others() -> None:
    sizes = Sizes(Wanted("one-", "nloc", "one"))
    ours = [
        entry("one-img-1-snap1", 1),
        entry("one-img-10-snap1", 2),
        {**entry("one-img-2", 3), "tags": None},
    ]
    others = [entry("one-img-3", 4, tags={"nloc": "two"}), entry("*one-img-4", 5), entry("two-one-img-5", 6)]
    odd: list[Any] = [
        None,
        7,
        "x",
        {},
        entry("one-a", "8"),
        entry("one-b", -1),
        entry("one-c", True),
        {"name": 4},
    ]
    sizes.add([*ours, *others, *odd])
    assert [sizes.of(f"one-img-{n}") for n in ("1-snap1", "10-snap1", "2", "1-snap10", "3", "4", "5")] == [
        1, 2, 3, None, None, None, None
    ]  # fmt: skip
    assert (len(sizes), sizes.odd) == (3, len(odd))
    stored = Sizes(Wanted("one-", "nloc", "one", stored=True))
    stored.add(ours)
    assert stored.of("one-img-10-snap1") == 1


def test_a_bad_vm_is_said_and_the_rest_reported() -> None:
    bad = RUNNING.replace("<DISK_ID><![CDATA[0]]></DISK_ID>", "<DISK_ID>x</DISK_ID>", 1)
    elsewhere = RUNNING.replace("<DS_ID>100</DS_ID>", "<DS_ID>999</DS_ID>")
    never = re.sub("<HISTORY_RECORDS>.*</HISTORY_RECORDS>", "", RUNNING)
    assert bad != RUNNING and elsewhere != RUNNING and never != RUNNING
    found = report(bad + elsewhere + never + RUNNING, KNOWN)
    assert "VM 42" in str(found[0])
    assert [each.datastore_id for each in found[1:] if isinstance(each, Told)] == [999, -1, 100]
    assert [bool(each.line) for each in found[1:] if isinstance(each, Told)] == [False, False, True]
    # A datastore that was not asked: its disks are unknown, those of others are not.
    (part,) = report(RUNNING, KNOWN, lookups={100: {"one-sys-42-3-raw": MIB}.get, 101: None})
    assert isinstance(part, Told) and part.unknown >= 4
    assert words(part.line)[1] == ['DISK_SIZE=[ID="3",SIZE="1"]']


def unpacked(text: str) -> bytes:
    assert len(text) < 65_500
    head, _, payload = text.rpartition(" ")
    assert head == "MONITOR_VM SUCCESS -1 0"
    return zlib.decompress(base64.b64decode(payload, validate=True))


def test_messages_are_small_and_whole(tmp_path: Path) -> None:
    """Also when they are encrypted, which OpenSSL takes apart again; with both forms of a key."""
    import random

    noise = random.Random(1)
    lines = [
        f'VM=[ID="{n}",MONITOR="{base64.b64encode(noise.randbytes(90)).decode()}"]\n'.encode()
        for n in range(900)
    ]
    packed = list(messages(lines))
    assert len(packed) > 2 and b"".join(map(unpacked, packed)) == b"".join(lines)
    assert list(messages([])) == []
    private, public, other = (str(tmp_path / name) for name in ("private", "public", "other"))
    for argv in (
        ["genrsa", "-out", private, "2048"],
        ["rsa", "-in", private, "-RSAPublicKey_out", "-out", public],
        ["rsa", "-in", private, "-pubout", "-out", other],
    ):
        subprocess.run(["openssl", *argv], check=True, capture_output=True)
    key = PublicKey.read(public)
    assert key == PublicKey.read(other) and key.size == 256
    secret = unpacked(message(b"".join(lines[:4]), key))
    assert len(secret) % 256 == 0 and lines[0] not in secret
    plain = b"".join(decrypted(private, secret[at : at + 256]) for at in range(0, len(secret), 256))
    assert plain == b"".join(lines[:4])
    assert all(len(each) < 65_500 for each in messages(lines[:330], key))
    for content in (
        b"",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        Path(private).read_bytes(),
    ):
        Path(other).write_bytes(content)
        with pytest.raises(ConfigError, match="is not an RSA public key"):
            PublicKey.read(other)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        PublicKey.read(f"{other}.none")


def decrypted(private: str, block: bytes) -> bytes:
    argv = ["openssl", "pkeyutl", "-decrypt", "-inkey", private, "-pkeyopt", "rsa_padding_mode:pkcs1"]
    return subprocess.run(argv, input=block, check=True, capture_output=True).stdout


def pieces(answer: bytes, length: int) -> Iterator[bytes]:
    return (answer[at : at + length] for at in range(0, len(answer), length))


def test_an_answer_is_read_while_it_arrives() -> None:
    data: list[Any] = [{"name": "ä-1", "n": 12}, {}, [], {"tags": {"a": "],}"}}, {"b": ",{"}, "text"]
    data += [{"last": 1}]
    for document in (
        {"generation": 80, "data": data},
        {"data": data, "generation": 80},
        {"data": [], "x": {"data": [1]}},
    ):
        for written in ({"indent": None}, {"indent": 1}, {"separators": (",", ":")}):
            answer = json.dumps(document, **written, ensure_ascii=False).encode()  # type: ignore[arg-type]
            for length in (1, 2, 7, 1000):
                assert list(elements(pieces(answer, length), "X")) == document["data"]
            for end in range(1, len(answer)):
                with pytest.raises(StorPoolLost):
                    list(elements(pieces(answer[:end], 50), "X"))


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b'{"data": 5}',
        b'{"generation": 1}',
        b'{"data": [{} {}]}',
        b"[1]",
        b'{"data": [' + b"x" * (5 << 20),
    ],
)
def test_what_is_not_an_answer(answer: bytes) -> None:
    with pytest.raises(StorPoolNonsense):
        list(elements(pieces(answer, 1 << 20), "X"))


def test_a_refusal_is_one() -> None:
    answer = b'{"error": {"name": "notNow", "descr": "later", "transient": true}}'
    with pytest.raises(StorPoolRefused) as found:
        list(elements(iter([answer]), "VolumesSpace"))
    assert found.value.transient and "VolumesSpace" in str(found.value)
