"""Backups as `prebackup` lays them out, made with qemu-img alone: one complete image, then only changes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def files(directory: Path, disk_id: int, states: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """`disk.<id>.<n>` and its content, for what the disk held at each backup."""
    return [(f"disk.{disk_id}.{number}", part) for number, part in enumerate(parts(directory, states))]


def parts(directory: Path, states: Sequence[bytes]) -> list[bytes]:
    """One qcow2 for each state: the first complete, the others what changed since the one before."""
    directory.mkdir(parents=True, exist_ok=True)
    raws = [directory / f"state{number}" for number in range(len(states))]
    made = []
    for number, (raw, state) in enumerate(zip(raws, states)):
        raw.write_bytes(state)
        part = directory / f"part{number}"
        before = ["-B", str(raws[number - 1]), "-F", "raw"] if number else []
        _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *before, str(raw), str(part))
        if number:
            _run("qemu-img", "rebase", "-u", "-b", "", str(part))
        made.append(part.read_bytes())
    return made


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)
