"""The transfer manager's rows of the table."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Callable

from storpool_addon.lab.command import Command, Steps
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row

CONTENT = b"the bytes of an image" * 1000
Prepare = Callable[[Ground], Command]
Verb = Callable[[Ground, Vm], Steps[None]]
Disks = Callable[[Ground], Sequence["Image | Volatile"]]


def system(lab: Ground) -> list[Image | Volatile]:
    return [lab.give_image(content=CONTENT)]


def persistent(lab: Ground) -> list[Image | Volatile]:
    return [lab.give_image(content=CONTENT, persistent=True)]


def cdrom(lab: Ground) -> list[Image | Volatile]:
    return [lab.give_image(content=CONTENT, type="CDROM")]


def volatile(lab: Ground) -> list[Image | Volatile]:
    return [Volatile(4)]


def with_file_system(lab: Ground) -> list[Image | Volatile]:
    return [Volatile(8, fs="ext4")]


def swap(lab: Ground) -> list[Image | Volatile]:
    return [Volatile(4, kind="swap")]


def several(lab: Ground) -> list[Image | Volatile]:
    """One of each kind that a VM's move has to think of."""
    return [*system(lab), Volatile(4), *persistent(lab)]


def on_two_clusters(lab: Ground) -> list[Image | Volatile]:
    return [*persistent(lab), lab.give_second_image()]


# Giving disks


def prolog(disks: Disks, script: str, *, grow_to_mib: int = 0) -> Prepare:
    """A VM that is being deployed on node1."""

    def prepare(lab: Ground) -> Command:
        vm = lab.vms.create(*disks(lab))
        if grow_to_mib:
            vm.disks[0]["SIZE"] = str(grow_to_mib)
        return scene.upto(lab.vms.deploy(vm, "node1"), script)

    return prepare


def context(lab: Ground) -> Command:
    return _of_known_age(lab, scene.upto(lab.vms.deploy(lab.vms.create(), "node1"), "context"))


def context_again(lab: Ground) -> Command:
    changed = lab.vms.update_context(scene.machine(lab), HOSTNAME="another")
    return _of_known_age(lab, scene.upto(changed, "context"))


def context_nvram(lab: Ground) -> Command:
    lab.hosts.frontend.write("/var/lib/one/remotes/OVMF/VARS.fd", bytes(40) + b"_FVH" + bytes(400))
    vm = lab.vms.create(T_OS_NVRAM="storpool:template=VARS.fd")
    return _of_known_age(lab, scene.upto(lab.vms.deploy(vm, "node1"), "context"))


def _of_known_age(lab: Ground, command: Command) -> Command:
    """The image holds the time of oned's file: the same in each world."""
    os.utime(lab.hosts.frontend.path(command.args[0]), (1_700_000_000, 1_700_000_000))
    return command


# Taking them


def with_machine(disks: Disks, verb: Verb, script: str, index: int = 0) -> Prepare:
    """A VM that runs on node1 and with which something is done."""

    def prepare(lab: Ground) -> Command:
        return scene.upto(verb(lab, scene.machine(lab, *disks(lab))), script, index)

    return prepare


def delete_with_backup(lab: Ground) -> Command:
    """A disk of which another location gets a copy first."""
    vm = scene.machine(lab, *system(lab))
    lab.add_location("there")
    lab.oned.datastores[101].attributes["REMOTE_BACKUP_DELETE"] = "there:tag del=y"
    return scene.upto(lab.vms.terminate(vm), "delete")


def terminate(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.vms.terminate(vm)


def recreate(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.vms.recreate(vm)


# Moving them


def stop(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.vms.stop(vm)


def undeploy(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.vms.undeploy(vm)


def migrate_saved(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.vms.migrate(vm, "node2")


def migrate_off(lab: Ground, vm: Vm) -> Steps[None]:
    lab.vms.poweroff(vm)
    return lab.vms.migrate(vm, "node2")


def migrate_suspended(lab: Ground, vm: Vm) -> Steps[None]:
    lab.vms.suspend(vm)
    return lab.vms.migrate(vm, "node2")


def rescue(lab: Ground, vm: Vm) -> Steps[None]:
    lab.hosts.nodes["node1"].power_off()
    return lab.vms.evacuate(vm, "node2")


def rescue_again(lab: Ground, vm: Vm) -> Steps[None]:
    lab.hosts.nodes["node1"].power_off()
    return lab.vms.evacuate(vm, "node2", lcm=61)


def resume(lab: Ground, vm: Vm) -> Steps[None]:
    _rest(lab, vm, lab.vms.stop(vm))
    return lab.vms.resume(vm, "node2")


def redeploy(lab: Ground, vm: Vm) -> Steps[None]:
    _rest(lab, vm, lab.vms.undeploy(vm))
    return lab.vms.resume(vm, "node2")


def _rest(lab: Ground, vm: Vm, leaving: Steps[None]) -> None:
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


def move_home(lcm: int) -> Prepare:
    """The last step of a move: the disks are there already, or gone from the host."""

    def prepare(lab: Ground) -> Command:
        vm = scene.machine(lab, *several(lab))
        command = scene.upto(MOVES[lcm](lab, vm), "mv", len(vm.disks))
        moved = list(scene.volumes(lab, vm))[: len(vm.disks)]
        scene.attach(lab, moved, *([] if lcm in AWAY else ["node2"]))
        if lcm not in AWAY:
            scene.links(lab, vm, "node2", context=False)
        return command

    return prepare


# Guests' memory and TPM

MEMORY, TPM = "one-sys-42-rawcheckpoint", "one-sys-42-SWTPM"
STATE = bytes(range(256)) * 20


def stop_with_state(lab: Ground) -> Command:
    """The directory is left out: what matters of it has to be on volumes."""
    vm = scene.machine(lab)
    _with_state(lab, vm)
    return scene.upto(lab.vms.stop(vm), "mv")


def resume_with_state(lab: Ground) -> Command:
    vm = scene.machine(lab)
    _with_state(lab, vm)
    archive = f"tar -C {vm.home} -cf - tpm | gzip -n"
    packed = subprocess.run(
        [*lab.hosts.nodes["node1"].enter, "bash", "-c", archive], capture_output=True, check=True
    ).stdout
    scene.volume(lab, TPM, scene.OURS | {"nvm": "42", "type": "SWTPM"}, size_mib=4, template="one-ds-100")
    lab.write_volume(TPM, packed)
    _rest(lab, vm, lab.vms.stop(vm))
    scene.attach(lab, [MEMORY])
    return scene.upto(lab.vms.resume(vm, "node2"), "mv")


def _with_state(lab: Ground, vm: Vm) -> None:
    """A VM with a TPM that OpenNebula has saved in its directory, and memory on a volume."""
    vm.attributes["TPM"] = {"MODEL": "tpm-crb"}
    node = lab.hosts.nodes["node1"]
    node.write(f"{vm.home}/tpm/tpm2-00.permall", STATE, 0o600)
    for path in (f"{vm.home}/tpm/tpm2-00.permall", f"{vm.home}/tpm"):
        os.utime(node.path(path), (1_700_000_000, 1_700_000_000))
    scene.volume(lab, MEMORY, scene.OURS | {"nvm": "42", "type": "CHKPNT"}, template="one-ds-100")
    scene.attach(lab, [MEMORY], "node1")


def memory(script: str) -> Prepare:
    """A VM of a site that saves memory to volumes; for all but the first hook it is on one already."""

    def prepare(lab: Ground) -> Command:
        vm = scene.machine(lab)
        if script == "presave":
            return next(lab.memory.save(vm, 6))
        scene.volume(lab, MEMORY, scene.OURS | {"nvm": "42", "type": "CHKPNT"}, template="one-ds-100")
        if script == "prerestore":
            return next(lab.memory.restore(vm))
        scene.attach(lab, [MEMORY], "node1")
        os.symlink(f"/dev/storpool/{MEMORY}", lab.hosts.nodes["node1"].path(f"{vm.home}/checkpoint"))
        if script == "postsave":
            return scene.upto(lab.memory.save(vm, 6), script)
        after = scene.upto(lab.memory.restore(vm), script)
        # As if OpenNebula's own script had not come to remove it.
        os.symlink(f"/dev/storpool/{MEMORY}", lab.hosts.nodes["node1"].path(f"{vm.home}/checkpoint"))
        return after

    return prepare


OTHER_DATASTORE = 110


def to_other_datastore(script_index: int) -> Prepare:
    """A VM that is off goes to another system datastore on its own host."""

    def prepare(lab: Ground) -> Command:
        other = lab.oned.add_system_datastore(OTHER_DATASTORE, "other", SP_QOSCLASS="gold")
        vm = scene.machine(lab, Volatile(4))
        lab.vms.poweroff(vm)
        return scene.upto(lab.vms.migrate(vm, "node1", other), "mv", script_index)

    return prepare


def old_cdrom(verb: Verb, script: str) -> Prepare:
    """A VM whose host has the image of its CDROM itself."""

    def prepare(lab: Ground) -> Command:
        vm = lab.vms.create(*cdrom(lab))
        scene.settle(lab.vms.deploy(vm, "node1"))
        scene.old_cdrom(lab, vm, "node1")
        return scene.upto(verb(lab, vm), script)

    return prepare


def migrate_live(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.vms.live_migrate(vm, "node2")


# Changing them


def resize(lab: Ground, vm: Vm) -> Steps[None]:
    lab.vms.poweroff(vm)
    return lab.vms.resize_disk(vm, 0, 8)


def resize_running(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.vms.resize_disk(vm, 0, 8)


def live(script: str, *, arrived: bool, disks: Disks = several) -> Prepare:
    """A live migration from node1 to node2. arrived: node2 has volumes and directory already."""

    def prepare(lab: Ground) -> Command:
        vm = scene.machine(lab, *disks(lab), context=disks is several)
        if arrived:
            scene.attach(lab, scene.volumes(lab, vm), "node1", "node2")
            scene.home(lab, vm, "node2")
        return scene.upto(lab.vms.live_migrate(vm, "node2", fails=script == "failmigrate"), script)

    return prepare


def mixed(lab: Ground) -> Command:
    """A live migration of a VM with a disk of another driver."""
    lab.foreign.install("ceph")
    vm = scene.machine(lab, *several(lab))
    # Where VMs have run before; nobody takes that back.
    os.makedirs(os.path.dirname(lab.hosts.nodes["node2"].path(vm.home)))
    vm.disks[2]["TM_MAD"] = "ceph"
    return scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")


def monitor(lab: Ground) -> Command:
    return scene.upto(lab.images.monitor(lab.oned.datastores[100]), "monitor")


# Saving them as images


def save(lab: Ground) -> Command:
    return scene.upto(lab.saving.disk_saveas(scene.machine(lab, *system(lab)), 0), "cpds")


def save_snapshot(lab: Ground) -> Command:
    vm = scene.machine(lab, *system(lab))
    lab.storpool("VolumeSnapshot/one-img-7-42-0", {"name": "one-img-7-42-0-snap0", "tags": scene.OURS})
    return scene.upto(lab.saving.disk_saveas(vm, 0, 0), "cpds")


ON = {"undoes": False}
TO_VOLUME = {"SP_CHECKPOINT_BD": 1}
LEFT_OUT = {**TO_VOLUME, "SKIP_UNDEPLOY_SSH": 1}
AWAY_FROM_HOST = {"undoes": False, "spares_dead_hosts": True}
ROWS = (
    Row("clone", prolog(system, "clone")),
    Row("clone-grown", prolog(system, "clone", grow_to_mib=8)),
    Row("ln", prolog(persistent, "ln")),
    Row("ln-cdrom", prolog(cdrom, "ln")),
    Row("mkimage", prolog(volatile, "mkimage")),
    Row("mkimage-ext4", prolog(with_file_system, "mkimage")),
    Row("mkswap", prolog(swap, "mkswap")),
    Row("context", context, needs="xorriso"),
    Row("context-nvram", context_nvram, undoes=False, needs="xorriso"),
    Row("context-again", context_again, undoes=False, needs="xorriso"),
    Row("delete-disk", with_machine(system, terminate, "delete"), **AWAY_FROM_HOST),
    Row("delete-with-backup", delete_with_backup, **AWAY_FROM_HOST),
    Row("delete-cdrom", with_machine(cdrom, terminate, "delete"), **AWAY_FROM_HOST),
    Row("delete-volatile", with_machine(volatile, terminate, "delete"), **AWAY_FROM_HOST),
    Row("delete-persistent", with_machine(persistent, recreate, "delete"), **AWAY_FROM_HOST),
    Row("delete-directory", with_machine(system, terminate, "delete", 1), **AWAY_FROM_HOST),
    Row("mvds", with_machine(persistent, terminate, "mvds"), **AWAY_FROM_HOST),
    *(Row(f"mv-disk-{lcm}", with_machine(several, verb, "mv"), **ON) for lcm, verb in MOVES.items()),
    *(Row(f"mv-directory-{lcm}", move_home(lcm), **ON) for lcm in MOVES),
    Row("resize", with_machine(system, resize, "resize"), **ON),
    Row("resize-running", with_machine(system, resize_running, "resize"), **ON),
    Row("mv-disk-other-datastore", to_other_datastore(0), **ON),
    Row("mv-directory-other-datastore", to_other_datastore(1), **ON),
    Row("mv-old-cdrom", old_cdrom(migrate_off, "mv"), **ON),
    Row("premigrate-old-cdrom", old_cdrom(migrate_live, "premigrate"), migration=True),
    Row("premigrate-mixed", mixed, migration=True),
    Row("premigrate", live("premigrate", arrived=False), migration=True),
    Row("postmigrate", live("postmigrate", arrived=True), migration=True, **AWAY_FROM_HOST),
    Row("failmigrate", live("failmigrate", arrived=True), migration=True, **AWAY_FROM_HOST),
    Row(
        "premigrate-two-clusters",
        live("premigrate", arrived=False, disks=on_two_clusters),
        migration=True,
    ),
    Row(
        "postmigrate-two-clusters",
        live("postmigrate", arrived=True, disks=on_two_clusters),
        migration=True,
        **AWAY_FROM_HOST,
    ),
    Row("cpds", save),
    Row("cpds-snapshot", save_snapshot),
    Row("tm-monitor", monitor),
    Row("mv-directory-10-state", stop_with_state, settings=LEFT_OUT, **ON),
    Row("mv-directory-9-state", resume_with_state, settings=LEFT_OUT, **ON),
    Row("presave", memory("presave"), settings=TO_VOLUME),
    Row("postsave", memory("postsave"), forgives=True, settings=TO_VOLUME, **ON),
    Row("prerestore", memory("prerestore"), settings=TO_VOLUME, **ON),
    Row("postrestore", memory("postrestore"), forgives=True, settings=TO_VOLUME, **ON),
)
