"""The tags that say whose a volume is and what it is; the bash addon's keys and values, which stay."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from storpool_addon.config import Config
from storpool_addon.errors import ConfigError, StateError
from storpool_addon.opennebula.vm import Vm
from storpool_addon.storpool import Volume

VIRT = "one"
_CLIENTS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*", re.ASCII)
# Which backup a snapshot was taken for.
BACKUP = "backup"
# When OpenNebula was asked for a disk's snapshot: its numbers begin anew, so names come again.
SNAPSHOT_DATE = "snapdate"
# How many parts a VM snapshot has; the bash addon's parts do not say.
PARTS = "vmsnap"
# Key of the tag that says what a VM's volume is; an image that no VM has is marked with it (snapshots.py).
TYPE = "type"
# On a volume that an action still fills; the value is the host on which it does (drafts.py).
UNFINISHED = "unfinished"
# StorPool's rule for a value; blanks are dropped before it is applied, as the bash addon does.
_VALUE = re.compile(r"[A-Za-z0-9_.:\-]*", re.ASCII)


def ours(config: Config) -> dict[str, str]:
    """What every volume and snapshot of this OpenNebula carries."""
    return {"virt": VIRT, config.loc_tag: config.loc_tag_val}


def image(config: Config, qc: str) -> dict[str, str]:
    """An image's volume; its QoS class is written even when it is empty."""
    return {**ours(config), "qc": value("qc", qc)}


def vm_disk(config: Config, vm: Vm, *, type: str, qc: str, disk_id: int | None = None) -> dict[str, str]:
    """A volume that a VM uses, a disk or not.

    type: PERS, NPERS, CDROM, IMMUT, VOL, CNTXT, …, with RO for a read-only disk. The VM's VC_POLICY is
    written when it has one; without one, what the volume has stays.
    """
    tags = {**ours(config), config.vm_tag: str(vm.id), "qc": value("qc", qc), "type": type}
    if disk_id is not None:
        tags["diskid"] = str(disk_id)
    policy = value("vc-policy", vm.attribute("VC_POLICY"))
    if policy:
        tags["vc-policy"] = policy
    return tags


def group_snapshot(config: Config, vm_id: int) -> dict[str, str]:
    """Snapshots of a VM's disks, of one or of several at one moment.

    Not its policies: StorPool's VolumeCare and QoS services act on those of what is in use.
    """
    return {**ours(config), config.vm_tag: str(vm_id)}


def disk_snapshot(config: Config, vm_id: int, date: int) -> dict[str, str]:
    """A snapshot of a disk. date: of the request, as OpenNebula wrote it down."""
    return {**group_snapshot(config, vm_id), SNAPSHOT_DATE: str(date)}


def vm_snapshot(config: Config, vm_id: int, parts: int) -> dict[str, str]:
    """The parts of a VM snapshot. parts: how many volumes it has."""
    return {**group_snapshot(config, vm_id), PARTS: str(parts)}


def backup(config: Config, vm_id: int, chain: str, number: int) -> dict[str, str]:
    """What a backup reads. chain: of increments, the id of their image."""
    return {**group_snapshot(config, vm_id), BACKUP: f"{chain}:{number}"}


def released(config: Config, qc: str) -> dict[str, str]:
    """An image that goes back to its datastore: StorPool removes a tag whose value is empty."""
    return {config.vm_tag: "", "vc-policy": "", "type": "", "diskid": "", "qc": value("qc", qc)}


def user_key(config: Config, vm_id: int, disk_id: int) -> str:
    """The tag by which a VM's disk says that it uses a volume that others may use too.

    Its value are the client ids of the hosts on which it does: `nvm-42-0=11`, and `11.12` while it moves.
    StorPool changes tags one by one, so two VMs never overwrite each other's.
    """
    return f"{config.vm_tag}-{vm_id}-{disk_id}"


def clients_value(clients: Collection[int]) -> str:
    """The value of a `user_key`; "" for no client, which removes the tag."""
    return ".".join(map(str, sorted(clients)))


def users(config: Config, tags: Mapping[str, str]) -> dict[str, frozenset[int]]:
    """Who uses a volume together with others: `user_key` to clients; StateError for a value of no sense."""
    pattern = re.compile(rf"{re.escape(config.vm_tag)}-[0-9]+-[0-9]+", re.ASCII)
    found = {}
    for key, text in tags.items():
        if text and pattern.fullmatch(key):
            if not _CLIENTS.fullmatch(text):
                raise StateError(
                    f"tag {key} is {text!r}, not the client ids of hosts (such as 11.12); correct it"
                )
            found[key] = frozenset(map(int, text.split(".")))
    return found


def deleted(config: Config, volume: str, tags: Mapping[str, str]) -> dict[str, str]:
    """The snapshot that delayed delete keeps: whose the volume was, and which one.

    Not its policies: StorPool's VolumeCare and QoS services act on those of what is in use.
    """
    kept = {key: word for key, word in tags.items() if key not in ("vc-policy", "qc")}
    return {**ours(config), **kept, config.deleted_tag: volume}


def remote_backup(config: Config, volume: Volume) -> dict[str, str]:
    """The copy of a volume that goes to another location: whose it was, and which volume exactly."""
    key = config.deleted_tag
    return {**ours(config), key: volume.name, f"{key}-id": volume.global_id}


def value(key: str, text: str) -> str:
    """A tag's value without blanks; ConfigError for what StorPool does not take."""
    stripped = "".join(text.split())
    if not _VALUE.fullmatch(stripped):
        raise ConfigError(f"tag {key} cannot be {text[:80]!r}: only A-Z a-z 0-9 _ . : - are possible")
    return stripped
