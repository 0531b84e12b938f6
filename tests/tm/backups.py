"""VMs that are backed up, and what that writes."""

from __future__ import annotations

from pathlib import Path

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests.sweep import scene
from tests.tm import cloud
from tests.tm.cloud import HOME

BACKUP = f"{HOME}/backup"
DISK = "one-img-7-42-0"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
UUID = "0b3dd5c5-7a2e-45ea-a4a3-0000000000ba"


def machine(lab: Lab, *disks: Image | Volatile, **config: str) -> Vm:
    """A VM that runs on node1 and is in the state of a backup."""
    vm = scene.machine(lab, *(disks or [lab.give_image(content=b"first" * 1000)]))
    lab.vm_backups.configure(vm, **config)
    vm.lcm_state = 69
    return vm


def increment(vm: Vm, number: int, chain: str = "31") -> None:
    """Let the next backup be that one of a chain."""
    last, name = str(number - 1), chain if number else "-1"
    vm.backup.update(MODE="INCREMENT", LAST_INCREMENT_ID=last, INCREMENTAL_BACKUP_ID=name)


def files(lab: Lab, host: str = "node1", place: str = BACKUP) -> set[str]:
    return set(cloud.files(lab, host, place))


def is_clean(lab: Lab, host: str = "node1", place: str = BACKUP) -> bool:
    """Nothing of a backup is left."""
    lent = [each for each in lab.storpool("AttachmentsList") if each["snapshot"]]
    return not lent and not cloud.snapshots(lab) and not Path(cloud.at(lab, host).path(place)).exists()


def written(lab: Lab, target: str) -> int:
    return Path(lab.hosts.nodes["node1"].path(f"{BACKUP}/{target}")).stat().st_size
