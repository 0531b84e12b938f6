"""Measures how long a guest with many disks stands still for a VM snapshot, by its host's clock."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Callable

from bench.limits import FROZEN_MS
from bench.rows import Row
from bench.world import World
from storpool_addon.lab.lab import Lab

ROUNDS, DISKS, HOST = 5, 8, "node1"
NAME = f"vm-snapshot/frozen-{DISKS}-disks"
_SAID = "/var/tmp/said-to-virsh"
# What a guest's agent takes to answer is the guest's.
_VIRSH = f'#!/bin/bash\necho "$3 ${{EPOCHREALTIME/,/.}}" >>{_SAID}\n'


def measure(world: World, only: str, say: Callable[[str], None], rounds: int = ROUNDS) -> Iterator[Row]:
    """The row, if its name has `only` in it."""
    if only not in NAME:
        return
    lab = world.lab
    _write_virsh(os.path.join(lab.directory, "hostbin", "virsh"))
    lab.configure(VMSNAPSHOT_FSFREEZE=1)
    vm = lab.vms.create(*(lab.give_image(size_mib=4) for _ in range(DISKS)), context=False)
    lab.do(lab.vms.deploy(vm, HOST))
    for number in range(rounds):
        say(f"VM snapshot, round {number + 1} of {rounds}")
        lab.do(lab.vm_snapshots.create(vm))
    lab.configure()
    yield row(_frozen_ms(lab))


def row(frozen_ms: Sequence[float]) -> Row:
    """frozen_ms: of each round, from the freeze to the thaw."""
    longest_ms = max(frozen_ms)
    times = {"median_frozen_ms": round(statistics.median(frozen_ms), 1), "longest_ms": round(longest_ms, 1)}
    return Row({"name": NAME, **times}, ("longest_ms",) if longest_ms > FROZEN_MS else ())


def _write_virsh(path: str) -> None:
    with open(path, "w") as file:
        file.write(_VIRSH)
    os.chmod(path, 0o755)


def _frozen_ms(lab: Lab) -> list[float]:
    """Of each freeze that was followed by a thaw."""
    found, since = [], 0.0
    for line in lab.hosts.nodes[HOST].run(f"cat {_SAID}").stdout.splitlines():
        word, moment = line.split()
        if word == "domfsfreeze":
            since = float(moment)
        elif word == "domfsthaw":
            found.append(1000 * (float(moment) - since))
    return found
