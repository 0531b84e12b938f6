"""The program that writes backups on hosts: what it writes is what qemu reads."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storpool_addon.hosts import backupdir

pytestmark = pytest.mark.needs("qemu-img")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@contextmanager
def started(directory: Path, *disks: dict[str, str], path: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The program, with its job given and its input held open. path: where it finds programs first."""
    job = {"directory": str(directory / "backup"), "files": {"vm.xml": "PFZNLz4K"}, "disks": disks}
    argv, pipe = [sys.executable, "-I", "-S", "-c", backupdir.BOOT], subprocess.PIPE
    environ = {"PATH": f"{path}:{os.environ['PATH']}"}
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=environ) as child:
        assert child.stdin
        child.stdin.write(backupdir.program() + json.dumps(job).encode() + b"\n")
        child.stdin.flush()
        yield child


def output(child: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What it says until it ends."""
    assert child.stdout and child.stderr
    return child.stdout.read(), child.stderr.read()


def export(directory: Path, *disks: dict[str, str]) -> Path:
    """Run it to its end; the directory that it filled."""
    with started(directory, *disks) as child:
        said, errors = output(child)
        assert (child.wait(), errors) == (0, b"")
    assert said.endswith(b"done\n")
    return directory / "backup"


def disk(target: str, device: Path, base: Path | str = "", kind: str = "increment") -> dict[str, str]:
    return {"target": target, "device": str(device), "base": str(base), "kind": kind}


def qemu_img(*argv: object) -> str:
    done = subprocess.run(["qemu-img", *map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout


def scribble(path: Path, size: int, times: int, chance: random.Random) -> None:
    """A file of that size with something written here and there, data and zeros."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(size)
        for _ in range(times):
            length = min(chance.randrange(1, 90_000), size)
            file.seek(chance.randrange(size - length + 1))
            file.write(chance.choice([bytes(length), chance.randbytes(length)]))


def pair(directory: Path, base_size: int, size: int, seed: int = 1) -> tuple[Path, Path]:
    """A disk as it was, and as it is."""
    chance = random.Random(seed)
    before, after = directory / "before", directory / "after"
    scribble(before, base_size, 12, chance)
    subprocess.run(["cp", "--sparse=always", before, after], check=True)
    scribble(after, size, 12, chance)
    return before, after


def check_chain(directory: Path, before: Path, after: Path, increment: Path) -> None:
    """What oned's readers do with an increment gives the disk as it is."""
    assert "backing" not in qemu_img("info", increment)
    assert "No errors were found" in qemu_img("check", increment)
    whole = directory / "whole"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", before, whole)
    qemu_img("rebase", "-u", "-F", "qcow2", "-b", whole, increment)
    assert "Images are identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", after, increment)
    assert f"({after.stat().st_size} bytes)" in qemu_img("info", increment)


@pytest.mark.parametrize(
    ("base_size", "size"),
    [
        (512, 512),
        (MIB, MIB),
        (2 * MIB + 512, 5 * MIB + 3 * 512),
        (5 * MIB + 3 * 512, 3 * MIB - 512),
        # More than one table of clusters, more than one thread's part, more than a block of counts.
        (600 * MIB, 700 * MIB + 7 * 512),
        (GIB, 9 * GIB),
    ],
)
@pytest.mark.parametrize("base_is_there", [True, False])
def test_an_increment_on_its_base_is_the_disk(
    tmp_path: Path, base_size: int, size: int, base_is_there: bool
) -> None:
    before, after = pair(tmp_path, base_size, size)
    made = export(tmp_path, disk("disk.0.1", after, before if base_is_there else ""))
    check_chain(tmp_path, before, after, made / "disk.0.1")


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    chance = random.Random(3)
    before.write_bytes(chance.randbytes(16 * MIB))
    content = bytearray(before.read_bytes())
    for start_at in range(0, 16 * MIB, MIB):
        content[start_at + 4096 : start_at + 8192] = chance.randbytes(4096)
    content[9 * MIB + 65536 : 9 * MIB + 131072] = bytes(65536)
    after.write_bytes(content)
    made = export(tmp_path, disk("disk.0.1", after, before)) / "disk.0.1"
    # 64 KiB changed; 8 tables of clusters, the table of those, counts and their table, the header.
    assert made.stat().st_size == 64 * KIB + (8 + 4) * 4096
    extents = json.loads(qemu_img("map", "--output=json", made))
    zeros = [each for each in extents if each["zero"] and each["present"] and each["start"] >= 9 * MIB]
    assert [(each["start"], each["length"]) for each in zeros] == [(9 * MIB + 65536, 65536)]
    check_chain(tmp_path, before, after, made)


def test_a_thin_terabyte_takes_a_moment(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for path, text in ((before, b"then"), (after, b"now")):
        with path.open("wb") as file:
            file.truncate(1 << 40)
            file.seek(700 * GIB)
            file.write(text)
    began = time.monotonic()
    made = export(tmp_path, disk("disk.0.1", after, before)) / "disk.0.1"
    assert time.monotonic() - began < 20
    assert made.stat().st_blocks * 512 < 5 * MIB
    check_chain(tmp_path, before, after, made)


def test_what_is_left_of_an_earlier_run_goes(tmp_path: Path) -> None:
    before, after = pair(tmp_path, MIB, MIB)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "disk.3.0").write_text("old")
    made = export(tmp_path, disk("disk.0.0", after, kind="full"), disk("disk.1.1", after, before))
    assert sorted(each.name for each in made.iterdir()) == ["disk.0.0", "disk.1.1", "vm.xml"]
    assert (made / "vm.xml").read_text() == "<VM/>\n"
    modes = {each.stat().st_mode & 0o777 for each in made.iterdir()}
    assert modes == {0o600} and made.stat().st_mode & 0o777 == 0o700
    assert "Images are identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", after, made / "disk.0.0")


@pytest.mark.parametrize("kind", ["full", "increment"])
def test_a_failure_names_the_disk(tmp_path: Path, kind: str) -> None:
    with started(tmp_path, disk("disk.5.1", tmp_path / "nothing", kind=kind)) as child:
        said, errors = output(child)
        assert child.wait() == 1
    assert b"done" not in said
    assert errors == b"disk.5.1: No such file or directory\n"


SLOW = """#!/bin/sh
for path; do :; done
while sleep 0.02; do echo x >>"$path"; done
"""


@pytest.mark.parametrize("kind", ["full", "increment"])
@pytest.mark.parametrize("how", ["input ends", "SIGTERM"])
def test_it_ends_with_those_who_want_it(tmp_path: Path, kind: str, how: str) -> None:
    device, target, programs = tmp_path / "device", tmp_path / "backup" / "disk.0.1", tmp_path / "bin"
    with device.open("wb") as file:
        # An increment whose base is gone has entries for all of it.
        file.truncate(8 << 40)
    programs.mkdir()
    (programs / "qemu-img").write_text(SLOW)
    (programs / "qemu-img").chmod(0o755)
    with started(tmp_path, disk("disk.0.1", device, kind=kind), path=str(programs)) as child:
        end = time.monotonic() + 20
        while not target.exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert child.stdin
        if how == "SIGTERM":
            child.send_signal(signal.SIGTERM)
        else:
            child.stdin.close()
        assert child.wait(10) == 1
    size = target.stat().st_size
    time.sleep(0.2)
    assert target.stat().st_size == size
