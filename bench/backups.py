"""Measures backups: a full one against `qemu-img convert` alone, and how much an increment writes.

Both read the same data file with the same number of coroutines, and find nothing of it in the page cache:
a host has nothing of a new snapshot's device there either.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from typing import Callable, NamedTuple

from bench.limits import BACKUP_RATIO, INCREMENT_MIB
from bench.rows import Row
from bench.world import Failed, World
from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm

ROUNDS = 5
MIB, GIB = 1 << 20, 1 << 30
FULL, INCREMENT = "backup/full-2GiB", "backup/increment-20GiB"
NAMES = (FULL, INCREMENT)
HOST = "node1"


class Disk(NamedTuple):
    """The one disk of a VM that runs. device: where it can be written to on this machine."""

    lab: Lab
    vm: Vm
    volume: str
    device: str

    def write(self, pieces: int, length: int, seed: str) -> None:
        """Data in so many places, spread evenly; each begins where a guest's file system would begin one."""
        chance, size = random.Random(seed), int(self.vm.disks[0]["SIZE"]) * MIB
        with open(self.device, "r+b") as device:
            for number in range(pieces):
                device.seek(number * (size // pieces) // 4096 * 4096)
                device.write(chance.randbytes(length))

    def let_go(self) -> None:
        """Attach it nowhere: then its snapshot has the same data file, as nobody can write to that.

        Of an attached volume the simulator copies the file, which StorPool does not.
        """
        item = {"volume": self.volume, "detach": "all"}
        self.lab.storpool("VolumesReassignWait", {"reassign": [item]})

    def cool(self) -> None:
        """Write out what is to be written, and have nothing of it in the page cache."""
        os.sync()
        with open(self.device, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def file(self, number: int) -> str:
        """Where a backup puts the disk."""
        return self.lab.hosts.nodes[HOST].path(f"{self.vm.home}/backup/disk.0.{number}")


def measure(world: World, only: str, say: Callable[[str], None], rounds: int = ROUNDS) -> Iterator[Row]:
    """The rows whose name has `only` in it; none where qemu-img is not installed."""
    chosen = [name for name in NAMES if only in name]
    if chosen and shutil.which("qemu-img") is None:
        say("no qemu-img here: backups are not measured")
        return
    if FULL in chosen:
        yield _full(world.lab, rounds, say)
    if INCREMENT in chosen:
        yield _increment(world.lab, say)


def _running(lab: Lab, size: int, mode: str) -> Disk:
    vm = lab.vms.create(lab.give_image(size_mib=size // MIB), context=False)
    lab.do(lab.vms.deploy(vm, HOST))
    lab.vm_backups.configure(vm, MODE=mode)
    vm.lcm_state = 69
    volume = f"one-img-{vm.disks[0]['IMAGE_ID']}-{vm.id}-0"
    return Disk(lab, vm, volume, lab.hosts.nodes[HOST].device(volume))


def _full(lab: Lab, rounds: int, say: Callable[[str], None]) -> Row:
    disk = _running(lab, 2 * GIB, "FULL")
    disk.write(128, 16 * MIB, FULL)
    disk.let_go()
    ours_ms, qemu_img_ms = [], []
    for number in range(rounds):
        say(f"full backup, round {number + 1} of {rounds}")
        disk.cool()
        ours_ms.append(_ms(lab, lab.vm_backups.pre(disk.vm)))
        _ms(lab, lab.vm_backups.post(disk.vm))
        disk.cool()
        qemu_img_ms.append(_convert(disk))
    return full_row(statistics.median(ours_ms), statistics.median(qemu_img_ms))


def full_row(ours_ms: float, qemu_img_ms: float) -> Row:
    """ours_ms, qemu_img_ms: medians. ratio: 1 when both are equally fast, more when we are faster."""
    ratio = qemu_img_ms / ours_ms
    times: dict[str, float] = {"median_ms": round(ours_ms, 1), "qemu_img_ms": round(qemu_img_ms, 1)}
    over = ("ratio",) if ratio < BACKUP_RATIO else ()
    return Row({"name": FULL, **times, "ratio": round(ratio, 2)}, over)


def _convert(disk: Disk) -> float:
    """`qemu-img convert` alone, on the same host."""
    target = f"{disk.device}.qcow2"
    begin = time.monotonic()
    ended = disk.lab.hosts.nodes[HOST].run(
        f"qemu-img convert -m 8 -f raw -O qcow2 {disk.device} {target}", timeout_s=600
    )
    taken_ms = (time.monotonic() - begin) * 1000
    if ended.returncode:
        raise Failed(ended.stderr)
    os.unlink(target)
    return taken_ms


def _increment(lab: Lab, say: Callable[[str], None]) -> Row:
    """200 MiB in pieces of 64 KiB, after 1 GiB was there."""
    say("increment of a disk of 20 GiB")
    disk = _running(lab, 20 * GIB, "INCREMENT")
    disk.write(64, 16 * MIB, FULL)
    _ms(lab, lab.vm_backups.pre(disk.vm))
    _ms(lab, lab.vm_backups.post(disk.vm))
    lab.vm_backups.succeeded(disk.vm, 31)
    disk.write(3200, 64 << 10, INCREMENT)
    os.sync()
    taken_ms = _ms(lab, lab.vm_backups.pre(disk.vm))
    written_mib = os.stat(disk.file(1)).st_blocks * 512 / MIB
    _ms(lab, lab.vm_backups.post(disk.vm))
    return increment_row(taken_ms, written_mib)


def increment_row(taken_ms: float, written_mib: float) -> Row:
    """written_mib: what the file takes of the host's disk."""
    fields = {"name": INCREMENT, "median_ms": round(taken_ms, 1), "changed_mib": 200}
    over = ("written_mib",) if written_mib > INCREMENT_MIB else ()
    return Row({**fields, "written_mib": round(written_mib, 1)}, over)


def _ms(lab: Lab, command: Command) -> float:
    result = lab.run(command, timeout_s=600)
    if result.exit_code:
        raise Failed(f"{command.name}: {result.stderr.strip()}")
    return result.seconds * 1000
