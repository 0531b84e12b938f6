"""Measures the start of a VM with all tweaks switched on, but for what ssh and libvirt take."""

from __future__ import annotations

import base64
import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Callable

from bench.limits import DEPLOY_MS
from bench.rows import Row
from bench.stopwatch import SYSTEM_PATH
from bench.world import World
from storpool_addon.domain.tweaking import BUILT_IN
from storpool_addon.lab.command import Command
from tests.domain import golden

NAME = "vmm/deploy-tweaks"
BASE = "windows-q35"
# OpenNebula's deploy says the domain's id.
_SSH = "#!/bin/sh\ncat >/dev/null\necho 0b3dd5c5-7a2e-45ea-a4a3-a7e1a6e6a5a0\n"


def measure(world: World, rounds: int, only: str, say: Callable[[str], None]) -> Iterator[Row]:
    """The row, if its name has `only` in it."""
    if only not in NAME:
        return
    lab, programs = world.lab, os.path.join(world.lab.directory, "deploying")
    _write_ssh(programs)
    lab.configure(DEPLOY_TWEAKS=" ".join(BUILT_IN))
    vm = lab.vms.create(lab.give_image(size_mib=4), context=False)
    lab.do(lab.vms.deploy(vm, "node1"))
    vm.user_attributes.update(golden.TOGETHER)
    domain = base64.b64encode((golden.BASES / BASE / "domain.xml").read_bytes())
    words = (f"/var/lib/one/vms/{vm.id}/deployment.0", "node1", str(vm.id), "node1")
    command = Command("vmm/kvm/deploy-tweaks", words, domain)
    argv = ["/usr/bin/env", f"PATH={programs}:{SYSTEM_PATH}", *command.argv]
    taken_ms = []
    for number in range(rounds):
        say(f"start of a VM, round {number + 1} of {rounds}")
        taken_ms.append(world.measure(argv, command.stdin).ms)
    lab.configure()
    yield row(taken_ms)


def row(taken_ms: Sequence[float]) -> Row:
    """taken_ms: of each round, the whole process."""
    median_ms = statistics.median(taken_ms)
    times = {"tweaks": len(BUILT_IN), "median_ms": round(median_ms, 1), "longest_ms": round(max(taken_ms), 1)}
    return Row({"name": NAME, **times}, ("median_ms",) if median_ms > DEPLOY_MS else ())


def _write_ssh(directory: str) -> None:
    os.makedirs(directory)
    path = os.path.join(directory, "ssh")
    with open(path, "w") as file:
        file.write(_SSH)
    os.chmod(path, 0o755)
