"""The transfer manager's rows of the table."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Callable

from storpool_addon.lab.command import Command, Steps
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests.sweep import scene
from tests.sweep.row import Row

CONTENT = b"the bytes of an image" * 1000
Disks = Callable[[Lab], Sequence["Image | Volatile"]]


def system(lab: Lab) -> list[Image | Volatile]:
    return [lab.give_image(content=CONTENT)]


def persistent(lab: Lab) -> list[Image | Volatile]:
    return [lab.give_image(content=CONTENT, persistent=True)]


def cdrom(lab: Lab) -> list[Image | Volatile]:
    return [lab.give_image(content=CONTENT, type="CDROM")]


def volatile(lab: Lab) -> list[Image | Volatile]:
    return [Volatile(4)]


def with_file_system(lab: Lab) -> list[Image | Volatile]:
    return [Volatile(8, fs="ext4")]


def swap(lab: Lab) -> list[Image | Volatile]:
    return [Volatile(4, kind="swap")]


def several(lab: Lab) -> list[Image | Volatile]:
    """One of each kind that a VM's move has to think of."""
    return [*system(lab), Volatile(4), *persistent(lab)]


# Giving disks


def prolog(disks: Disks, script: str, *, grow_to_mib: int = 0) -> Callable[[Lab], Command]:
    """A VM that is being deployed on node1."""

    def prepare(lab: Lab) -> Command:
        vm = lab.vms.create(*disks(lab))
        if grow_to_mib:
            vm.disks[0]["SIZE"] = str(grow_to_mib)
        return scene.upto(lab.vms.deploy(vm, "node1"), script)

    return prepare


def context(lab: Lab) -> Command:
    return scene.upto(lab.vms.deploy(lab.vms.create(), "node1"), "context")


def context_again(lab: Lab) -> Command:
    return scene.upto(lab.vms.update_context(scene.machine(lab), HOSTNAME="another"), "context")


# Taking them


def with_machine(
    disks: Disks, verb: Callable[[Lab, Vm], Steps[None]], script: str, index: int = 0
) -> Callable[[Lab], Command]:
    """A VM that runs on node1 and with which something is done."""

    def prepare(lab: Lab) -> Command:
        return scene.upto(verb(lab, scene.machine(lab, *disks(lab))), script, index)

    return prepare


def terminate(lab: Lab, vm: Vm) -> Steps[None]:
    return lab.vms.terminate(vm)


def recreate(lab: Lab, vm: Vm) -> Steps[None]:
    return lab.vms.recreate(vm)


# Moving them


def stop(lab: Lab, vm: Vm) -> Steps[None]:
    return lab.vms.stop(vm)


def undeploy(lab: Lab, vm: Vm) -> Steps[None]:
    return lab.vms.undeploy(vm)


def migrate_saved(lab: Lab, vm: Vm) -> Steps[None]:
    return lab.vms.migrate(vm, "node2")


def migrate_off(lab: Lab, vm: Vm) -> Steps[None]:
    lab.vms.poweroff(vm)
    return lab.vms.migrate(vm, "node2")


def migrate_suspended(lab: Lab, vm: Vm) -> Steps[None]:
    lab.vms.suspend(vm)
    return lab.vms.migrate(vm, "node2")


def rescue(lab: Lab, vm: Vm) -> Steps[None]:
    lab.hosts.nodes["node1"].power_off()
    return lab.vms.evacuate(vm, "node2")


def rescue_again(lab: Lab, vm: Vm) -> Steps[None]:
    lab.hosts.nodes["node1"].power_off()
    return lab.vms.evacuate(vm, "node2", lcm=61)


def resume(lab: Lab, vm: Vm) -> Steps[None]:
    _rest(lab, vm, lab.vms.stop(vm))
    return lab.vms.resume(vm, "node2")


def redeploy(lab: Lab, vm: Vm) -> Steps[None]:
    _rest(lab, vm, lab.vms.undeploy(vm))
    return lab.vms.resume(vm, "node2")


def _rest(lab: Lab, vm: Vm, leaving: Steps[None]) -> None:
    """The VM rests on the front-end."""
    scene.settle(leaving)
    scene.attach(lab, scene.volumes(lab, vm))
    shutil.rmtree(lab.hosts.nodes["node1"].path(vm.home))
    lab.hosts.frontend.write(f"{vm.home}/deployment.0", "<domain/>\n")


MOVES = {
    8: migrate_saved, 9: resume, 10: stop, 30: undeploy, 31: redeploy,
    43: migrate_off, 45: migrate_suspended, 60: rescue, 61: rescue_again,
}  # fmt: skip
AWAY = (10, 30)


def move_home(lcm: int) -> Callable[[Lab], Command]:
    """The last step of a move: the disks are there already, or gone from the host."""

    def prepare(lab: Lab) -> Command:
        vm = scene.machine(lab, *several(lab))
        command = scene.upto(MOVES[lcm](lab, vm), "mv", len(vm.disks))
        moved = list(scene.volumes(lab, vm))[: len(vm.disks)]
        scene.attach(lab, moved, *([] if lcm in AWAY else ["node2"]))
        if lcm not in AWAY:
            scene.links(lab, vm, "node2", context=False)
        return command

    return prepare


# Changing them


def resize(lab: Lab, vm: Vm) -> Steps[None]:
    lab.vms.poweroff(vm)
    return lab.vms.resize_disk(vm, 0, 8)


def resize_running(lab: Lab, vm: Vm) -> Steps[None]:
    return lab.vms.resize_disk(vm, 0, 8)


def live(script: str, *, arrived: bool) -> Callable[[Lab], Command]:
    """A live migration from node1 to node2. arrived: node2 has volumes and directory already."""

    def prepare(lab: Lab) -> Command:
        vm = scene.machine(lab, *several(lab))
        if arrived:
            scene.attach(lab, scene.volumes(lab, vm), "node1", "node2")
            scene.home(lab, vm, "node2")
        return scene.upto(lab.vms.live_migrate(vm, "node2", fails=script == "failmigrate"), script)

    return prepare


def monitor(lab: Lab) -> Command:
    return scene.upto(lab.images.monitor(lab.oned.datastores[100]), "monitor")


ROWS = (
    Row("clone", prolog(system, "clone")),
    Row("clone-grown", prolog(system, "clone", grow_to_mib=8)),
    Row("ln", prolog(persistent, "ln")),
    Row("ln-cdrom", prolog(cdrom, "ln")),
    Row("mkimage", prolog(volatile, "mkimage")),
    Row("mkimage-ext4", prolog(with_file_system, "mkimage")),
    Row("mkswap", prolog(swap, "mkswap")),
    Row("context", context),
    Row("context-again", context_again, undoes=False),
    Row("delete-disk", with_machine(system, terminate, "delete"), undoes=False, spares_dead_hosts=True),
    Row("delete-cdrom", with_machine(cdrom, terminate, "delete"), undoes=False, spares_dead_hosts=True),
    Row("delete-volatile", with_machine(volatile, terminate, "delete"), undoes=False, spares_dead_hosts=True),
    Row("delete-persistent", with_machine(persistent, recreate, "delete"), undoes=False, spares_dead_hosts=True),
    Row("delete-directory", with_machine(system, terminate, "delete", 1), undoes=False, spares_dead_hosts=True),
    Row("mvds", with_machine(persistent, terminate, "mvds"), undoes=False, spares_dead_hosts=True),
    *(Row(f"mv-disk-{lcm}", with_machine(several, verb, "mv"), undoes=False) for lcm, verb in MOVES.items()),
    *(Row(f"mv-directory-{lcm}", move_home(lcm), undoes=False) for lcm in MOVES),
    Row("resize", with_machine(system, resize, "resize"), undoes=False),
    Row("resize-running", with_machine(system, resize_running, "resize"), undoes=False),
    Row("premigrate", live("premigrate", arrived=False), migration=True),
    Row("postmigrate", live("postmigrate", arrived=True), undoes=False, migration=True, spares_dead_hosts=True),
    Row("failmigrate", live("failmigrate", arrived=True), undoes=False, migration=True, spares_dead_hosts=True),
    Row("tm-monitor", monitor),
)  # fmt: skip
