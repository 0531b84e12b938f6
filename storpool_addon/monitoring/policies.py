"""Which `vc-policy` and `qc` each volume of ours should have, and which of them have others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.config import Config
from storpool_addon.errors import AddonError, ConfigError, StateError
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.disk import Disk
from storpool_addon.opennebula.image import Image
from storpool_addon.opennebula.policy import VmPolicy

CLASS, POLICY = "qc", "vc-policy"
_SNAPSHOT = "-snap"
_ID, _NOBODY = re.compile(r"[0-9]{1,9}", re.ASCII), -1


class Cloud(NamedTuple):
    """What OpenNebula has, by id; of one object's policies, that object and what it stands on is enough."""

    config: Config
    datastores: Mapping[int, Datastore]
    vms: Mapping[int, VmPolicy]
    images: Mapping[int, Image]


class Target(NamedTuple):
    """A volume or snapshot as StorPool lists it. reference: its global id with a ~."""

    name: str
    reference: str
    tags: Mapping[str, str]
    snapshot: bool = False


class Wish(NamedTuple):
    """The policies that a target should have. owner: who says so. datastore_id: whose cluster it is on."""

    owner: str
    datastore_id: int
    tags: dict[str, str]


class Drift(NamedTuple):
    """A target, and the tags in which it differs from the wish; an empty one is to be taken away."""

    target: Target
    wish: Wish
    changes: dict[str, str]

    def __str__(self) -> str:
        words = [
            f"{key} {self.target.tags.get(key) or '-'} -> {text or '-'}" for key, text in self.changes.items()
        ]
        return f"{self.target.name} ({self.wish.owner}): {', '.join(words)}"


def targets(entries: Iterable[Any], config: Config, *, snapshots: bool = False) -> Iterator[Target]:
    """Those of StorPool's list that are ours by name and tag."""
    prefix, key, value = f"{config.one_px}-", config.loc_tag, config.loc_tag_val
    for entry in entries:
        if type(entry) is not dict:
            continue
        name, found, global_id = entry.get("name"), entry.get("tags"), entry.get("globalId")
        if (
            type(name) is str
            and name.startswith(prefix)
            and type(found) is dict
            and found.get(key) == value
            and type(global_id) is str
            and (not snapshots or _SNAPSHOT in name)
        ):
            yield Target(name, f"~{global_id}", found, snapshots)


def drift(cloud: Cloud, target: Target) -> Drift | None:
    """What is to be changed, None for nothing; AddonError when its owner asks for something impossible."""
    wish = wanted(cloud, target)
    if wish is None:
        return None
    changes = {key: text for key, text in wish.tags.items() if target.tags.get(key, "") != text}
    return Drift(target, wish, changes) if changes else None


def wanted(cloud: Cloud, target: Target) -> Wish | None:
    """The policies of a target; None for one that OpenNebula does not know, which is left as it is."""
    config = cloud.config
    if target.snapshot:
        return _of_snapshot(cloud, target)
    px = config.one_px
    origin = names.parse(px, target.name)
    if origin is None:
        return None
    if origin.kind == "image":
        return _of_image(cloud, target, cloud.images.get(origin.image_id or 0))
    vm = cloud.vms.get(-1 if origin.vm_id is None else origin.vm_id)
    if vm is None or not vm.has_volumes:
        return None
    if origin.kind == "context":
        known = config.tag_context_iso and origin.disk_id == vm.context_disk_id
        return _of_vm(cloud, vm, qos.VM_ONLY) if known else None
    if origin.disk_id is None:
        return _of_vm(cloud, vm, qos.VM_ONLY)
    disk = vm.disks.get(origin.disk_id)
    if disk is None or not _is_its_volume(px, vm, disk, target.name):
        return None
    return _of_vm(cloud, vm, qos.VM_FIRST, disk)


def _of_image(cloud: Cloud, target: Target, image: Image | None) -> Wish | None:
    """An image is its user's while one VM has it for itself, and its datastore's otherwise.

    Its VolumeCare policy is only written for a VM: whatever else it has was not OpenNebula's to give.
    """
    if image is None:
        return None
    vm = cloud.vms.get(_id(target.tags.get(cloud.config.vm_tag, "")))
    if vm is not None and vm.has_volumes:
        for disk in vm.disks.values():
            if not disk.is_shared and _is_its_volume(cloud.config.one_px, vm, disk, target.name):
                return _of_vm(cloud, vm, qos.IMAGE_FIRST, disk, image)
    return Wish(f"image {image.id}", image.datastore_id, {CLASS: _image_class(cloud, image)})


def _of_snapshot(cloud: Cloud, target: Target) -> Wish | None:
    """A snapshot of an image has the image's class; it is never in use, and so under no VolumeCare policy."""
    volume, _, number = target.name.rpartition(_SNAPSHOT)
    origin = names.parse(cloud.config.one_px, volume)
    if origin is None or origin.kind != "image":
        return None
    image = cloud.images.get(origin.image_id or 0)
    if image is None or not any(str(each.id) == number for each in image.snapshots):
        return None
    return Wish(f"image {image.id}", image.datastore_id, {CLASS: _image_class(cloud, image)})


def _image_class(cloud: Cloud, image: Image) -> str:
    datastore = _datastore(cloud, image.datastore_id, f"image {image.id}")
    return qos.of_image(cloud.config, image, datastore)


def _of_vm(
    cloud: Cloud, vm: VmPolicy, order: tuple[str, ...], disk: Disk | None = None, image: Image | None = None
) -> Wish:
    """Of a volume that a VM has: a disk, or for None one of the VM's own."""
    owner = f"VM {vm.id}"
    try:
        return _asked_by(cloud, vm, owner, order, disk, image)
    except ConfigError as error:
        raise (error if owner in str(error) else ConfigError(f"{owner}: {error}")) from None


def _asked_by(
    cloud: Cloud, vm: VmPolicy, owner: str, order: tuple[str, ...], disk: Disk | None, image: Image | None
) -> Wish:
    system = _datastore(cloud, vm.datastore_id, owner)
    datastore = system
    if disk is not None and not disk.is_volatile:
        datastore = _datastore(cloud, disk.datastore_id, owner)
    disk_id = None if disk is None else disk.disk_id
    qc = qos.resolve(
        cloud.config, order, vm=vm, disk_id=disk_id, image=image, system=system, datastore=datastore
    )
    policy = tags.value(POLICY, vm.attributes.get("VC_POLICY", ""))
    return Wish(owner, datastore.id, {CLASS: qc, POLICY: policy})


def _datastore(cloud: Cloud, datastore_id: int, owner: str) -> Datastore:
    found = cloud.datastores.get(datastore_id)
    if found is None:
        raise StateError(f"{owner} is in datastore {datastore_id}, which OpenNebula does not have")
    return found


def _is_its_volume(px: str, vm: VmPolicy, disk: Disk, name: str) -> bool:
    """Whether the disk's volume has that name; of other drivers' disks none has."""
    try:
        return names.of_disk(px, vm.id, disk) == name
    except AddonError:
        return False


def is_ours(config: Config, target: Target) -> bool:
    """Whether its name and its tag say so."""
    named = target.name.startswith(f"{config.one_px}-")
    return named and target.tags.get(config.loc_tag) == config.loc_tag_val


def owners(config: Config, target: Target) -> tuple[int | None, int | None]:
    """VM and image that may have a say in a target's policies, None for neither."""
    name = target.name.rpartition(_SNAPSHOT)[0] if target.snapshot else target.name
    origin = names.parse(config.one_px, name)
    if origin is None:
        return None, None
    if origin.kind != "image":
        return origin.vm_id, None
    user = _NOBODY if target.snapshot else _id(target.tags.get(config.vm_tag, ""))
    return None if user == _NOBODY else user, origin.image_id


def _id(text: object) -> int:
    """The id in a tag; whatever else stands there is nobody's."""
    return int(text) if isinstance(text, str) and _ID.fullmatch(text) else _NOBODY


def volumes_of(config: Config, vm: VmPolicy) -> Iterator[tuple[int, str]]:
    """Datastore and name of all volumes that a VM may have; most VMs have few of those that are no disks."""
    if not vm.has_volumes:
        return
    px, system = config.one_px, vm.datastore_id
    for disk in vm.disks.values():
        try:
            name = names.of_disk(px, vm.id, disk)
        except AddonError:
            continue
        yield system if disk.is_volatile else disk.datastore_id, name
    if vm.context_disk_id >= 0 and config.tag_context_iso:
        yield system, names.context(px, vm.id, vm.context_disk_id)
    for own in (names.nvram, names.tpm, names.checkpoint, names.checkpoint_archive):
        yield system, own(px, vm.id)
