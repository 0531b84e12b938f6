"""The smallest guest there is, and what tests ask about one."""

from __future__ import annotations

import signal
import time
from typing import Callable, TypeVar

from storpool_addon.lab.command import Steps
from storpool_addon.lab.conductor import Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.tm import cloud

# A boot sector that counts timer ticks at 0x50000, from nothing, since a reset leaves memory as it is:
# mov ax,5000; mov ds,ax; mov word [0],0; sti; l: hlt; inc word [0]; jmp l.
SECTOR = bytes.fromhex("b800508ed8c70600000000fbf4ff060000ebf9").ljust(510, b"\0") + b"\x55\xaa"
TIMEOUT_S = 60.0
T = TypeVar("T")


def created(lab: Lab) -> Vm:
    """A VM that boots from its first disk, and has a volatile one and a context."""
    image = lab.give_image(size_mib=16, content=SECTOR)
    vm = lab.vms.create(image, Volatile(16))
    vm.attributes["MEMORY"] = "32"
    return vm


def end(lab: Lab, vm: Vm) -> None:
    """Take a VM away, whatever became of it."""
    for host in lab.domains.where(vm):
        lab.domains.virsh(host, "destroy", f"one-{vm.id}")
    lab.do(lab.vms.cancel_prolog(vm))


def volumes(lab: Lab, vm: Vm) -> set[str]:
    """All that is a VM's on StorPool."""
    return {name for name in cloud.volumes(lab) if f"-{vm.id}-" in name}


def holders(lab: Lab, vm: Vm) -> set[str]:
    """The hosts that hold each of the VM's disks, and may write to it."""
    found = [where for name, where in cloud.attached(lab).items() if f"-{vm.id}-" in name]
    assert all(where == found[0] for where in found) and set(found[0].values()) == {"rw"}
    return set(found[0])


def process(lab: Lab, vm: Vm, host: str) -> int:
    """The process of a VM's guest on a host, as the host counts; waited for."""
    node = lab.hosts.nodes[host]

    def ask() -> str:
        return node.run(f"pgrep -f guest=one-{vm.id},").stdout.strip()

    return int(until(ask))


def until(ask: Callable[[], T]) -> T:
    """What a question is answered with, once that is something."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r}"
        time.sleep(0.2)
    return answer


def ticks(lab: Lab, vm: Vm) -> int:
    """How far the guest has counted: it begins anew when it boots, and goes on when its memory is kept."""
    words = ("qemu-monitor-command", f"one-{vm.id}", "--hmp", "xp /1hd 0x50000")
    return int(lab.domains.virsh(vm.here.host, *words).split()[-1])


def counts_on(lab: Lab, vm: Vm, since: int) -> int:
    """Wait until the guest has counted further than it had."""
    return until(lambda: now if (now := ticks(lab, vm)) > since else 0)


def disks(lab: Lab, vm: Vm) -> set[str]:
    """What the domain calls the disks that it has."""
    lines = lab.domains.virsh(vm.here.host, "domblklist", f"one-{vm.id}").splitlines()[2:]
    return {line.split()[0] for line in lines}


def killed(lab: Lab, steps: Steps[T], numbers: dict[str, list[int]]) -> None:
    """Run all of a verb, and some of its scripts several times: killed after one of these calls, after the
    next, and at last to their end.
    """
    for name, after in numbers.items():
        command = lab.until(steps, name.partition(".")[0])
        ends = [lab.run(command, Fault(number, "after", "kill")).exit_code for number in after]
        assert ends[0] == -signal.SIGKILL
        result = lab.run(command)
        assert (result.exit_code, result.stderr) == (0, "")
    lab.do(steps)
