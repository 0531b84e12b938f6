"""Disks that several VMs may have at once: the volume stays on a host as long as any VM there uses it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from storpool_addon import qos, tags
from storpool_addon.errors import StateError
from storpool_addon.opennebula.vm import Disk
from storpool_addon.storpool import ClientId
from storpool_addon.tm.disks import Subject
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.volumes import Placement

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.storpool import Volume


def is_shared(disk: Disk) -> bool:
    """Whether the disk is an image that other VMs may have too: SHAREABLE or IMMUTABLE."""
    return disk.is_shared


def user_of_backups(disk: Subject) -> str:
    """What the names of a disk's backups have, so that VMs of one image do not take each other's."""
    return f"{disk.vm.id}-{disk.disk.disk_id}" if is_shared(disk.disk) else ""


def refuse_if_used_together(disk: Subject, volume: Volume) -> None:
    """StateError when VMs use the volume that each know that others do: one that does not may not join."""
    users = tags.users(disk.config, volume.tags)
    if users:
        raise StateError(
            f"volume {disk.volume} is shared by {', '.join(sorted(users))}, and disk {disk.disk.disk_id} of"
            f" VM {disk.vm.id} wants it for itself; detach it there first"
        )


def is_used_together(disk: Subject, volume: Volume) -> bool:
    """Whether VMs use the volume that each know that others do."""
    return bool(tags.users(disk.config, volume.tags))


def set_clients(
    driver: Driver,
    disk: Subject,
    clients: Collection[int],
    *,
    force: bool = False,
    undo: Undo | None = None,
) -> None:
    """Let the disk's VM have the volume on these clients and on no other; what other VMs have stays theirs.

    It is announced in the volume's tags before it is attached, and detached before it is taken out of them:
    wherever a run ends, nobody takes from a VM what it has, and a repeat knows what is left to do.
    force: where no other VM uses it, a client that has the device open loses it. No client: the volume may
    be gone, or the VM may never have had it. undo: lets the VM have it where it had it before.
    """
    _refuse_other_clusters(disk, clients)
    with driver.exclusive(disk.volume), uninterrupted():
        volume = disk.volumes.owned(disk.volume) if clients else disk.volumes.find(disk.volume)
        if volume is None:
            disk.volumes.log(f"volume {disk.volume} is not there any more; nothing to give back")
            return
        before = _clients(disk, volume)
        if clients:
            _check_usable(disk, volume)
            if undo is not None:
                what = f"let VM {disk.vm.id} have volume {disk.volume} where it had it"
                undo.add(what, set_clients, driver, disk, before)
            _announce(driver, disk, volume, before | set(clients))
            disk.volumes.share([Placement(disk.volume, each, _mode(disk)) for each in sorted(clients)])
        _leave(disk, volume, before - set(clients), clients, force)


def _leave(disk: Subject, volume: Volume, left: Collection[int], kept: Collection[int], force: bool) -> None:
    """Take the volume from clients on which no VM uses it any more, then take them out of the VM's tag."""
    if not left:
        return
    others = _others(disk, volume.tags)
    taken = set(left) - others
    for client in sorted(taken):
        disk.volumes.take_from(disk.volume, client, force=force)
    last = not kept and not tags.users(disk.config, _without(disk, volume.tags))
    disk.volumes.tag(disk.volume, {_key(disk): tags.clients_value(kept), **({"type": ""} if last else {})})
    # Another front-end's VM may have come between: the lock is not its.
    back = taken & _others(disk, disk.volumes.owned(disk.volume).tags)
    disk.volumes.share([Placement(disk.volume, each, _mode(disk)) for each in sorted(back)])


def _announce(driver: Driver, disk: Subject, volume: Volume, clients: Collection[int]) -> None:
    """The class is the image's own: no VM has a say in what it shares."""
    image_id = disk.disk.image_id
    qc = qos.of_image(disk.config, driver.one.image(image_id), disk.datastore) if image_id is not None else ""
    wanted = {_key(disk): tags.clients_value(clients), "type": _kind(disk), "qc": tags.value("qc", qc)}
    if any(volume.tags.get(key, "") != text for key, text in wanted.items()):
        disk.volumes.tag(disk.volume, wanted)


def _refuse_other_clusters(disk: Subject, clients: Collection[int]) -> None:
    """StateError for a client of another cluster: tags hold numbers, and one here may have the same."""
    for client in clients:
        cluster = client.cluster if isinstance(client, ClientId) else ""
        if cluster:
            raise StateError(
                f"volume {disk.volume} is one that VMs share, and client {client} is of StorPool cluster"
                f" {cluster}; such images are for hosts in their datastore's own cluster"
            )


def _check_usable(disk: Subject, volume: Volume) -> None:
    """StateError when a VM has the volume for itself, or VMs have it in another manner."""
    user = volume.tags.get(disk.config.vm_tag, "")
    if user:
        raise StateError(
            f"volume {disk.volume} is in use by VM {user}, which has it for itself; detach it there first"
        )
    kind, ours = volume.tags.get("type", ""), _kind(disk)
    # Another front-end's last VM may have taken the word away when the next one had just come.
    if kind not in ("", ours) and tags.users(disk.config, _without(disk, volume.tags)):
        raise StateError(
            f"volume {disk.volume} is in use as {kind}, not as {ours}; PERSISTENT_TYPE of the"
            " image was changed while VMs had it"
        )


def _kind(disk: Subject) -> str:
    """The `type` tag, which is the volume's: that one of its VMs only reads it is that VM's business."""
    return "PERS" if disk.disk.shareable else "IMMUT"


def _mode(disk: Subject) -> str:
    """One mode for all VMs of an image: two on one host have one attachment between them.

    READONLY_MODE has no say: no host may write what all read. QEMU 6.1 and later open such a device with
    libvirt's auto-read-only; earlier ones refuse it ("The device is not writable").
    """
    return "rw" if disk.disk.shareable else "ro"


def _key(disk: Subject) -> str:
    return tags.user_key(disk.config, disk.vm.id, disk.disk.disk_id)


def _clients(disk: Subject, volume: Volume) -> frozenset[int]:
    """Where this disk of the VM has the volume, or was about to have it."""
    return tags.users(disk.config, volume.tags).get(_key(disk), frozenset())


def _without(disk: Subject, found: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in found.items() if key != _key(disk)}


def _others(disk: Subject, found: Mapping[str, str]) -> set[int]:
    """The clients on which any other disk uses the volume."""
    return set().union(*tags.users(disk.config, _without(disk, found)).values())
