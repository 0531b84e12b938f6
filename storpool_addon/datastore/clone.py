"""The clone of an image: StorPool's own within a cluster, a verified copy from one cluster to another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.config import Config
from storpool_addon.datastore import bridge, fetch, sparse
from storpool_addon.datastore.subject import FORMAT, image_of, source_of
from storpool_addon.datastore.writing import TIMEOUT_S, Progress, Target, open_target
from storpool_addon.drafts import Draft, is_finished
from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.vmdir import device
from storpool_addon.opennebula.action import DatastoreAction
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import mib_to_bytes
from storpool_addon.volumes import is_absent

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.hosts.shell import Shell
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.opennebula.image import Image
    from storpool_addon.snapshots import Snapshots
    from storpool_addon.storpool import Volume
    from storpool_addon.volumes import Volumes

# StorPool deletes the snapshot that a copy reads when we are not there to do it.
SNAPSHOT_LIFE_S = 48 * 3600
_READ = PRELUDE + 'wait_for "$1"; exec dd if="$1" bs=1M status=none iflag=count_bytes count="$2"\n'
# Read from the disk, not from what was just written into the page cache.
_DIGEST = (
    PRELUDE
    + r"""
wait_for "$1"
[ ! -b "$1" ] || blockdev --flushbufs "$1"
dd if="$1" bs=1M status=none iflag=fullblock,count_bytes count="$2" | sha256sum
"""
)


class Side(NamedTuple):
    """A datastore, its volumes, and the host that reads or writes them."""

    datastore: Datastore
    volumes: Volumes
    config: Config


@protocol(image_id=number, stdin=("action", DatastoreAction.parse))
def clone(driver: Driver, image_id: int, action: DatastoreAction) -> str:
    """Make an image a copy of another. Answers SOURCE and format.

    oned does not decrypt the datastore's attributes for this action, and says nothing about the other
    image's datastore: both are asked for.
    """
    image = image_of(action, image_id)
    target = _side(driver, action.datastore.id)
    source = _side(driver, names.datastore_of_source(image.path))
    original = source.volumes.owned(names.of_source(image.path))
    if _same_cluster(source, target, original):
        _clone(target, image, original)
    else:
        _copy(driver, source, target, image, original)
    return f"{source_of(target.config, action)} {FORMAT}"


def _side(driver: Driver, datastore_id: int) -> Side:
    datastore = driver.one.datastore(datastore_id)
    return Side(datastore, driver.volumes(datastore), driver.config.for_datastore(datastore))


def _same_cluster(source: Side, target: Side, original: Volume) -> bool:
    """Whether both are in one cluster: by their endpoint, else by asking for the same volume on both sides.

    One cluster may be reached under several addresses and tokens; global ids are unique among all clusters.
    """
    if source.volumes.api is target.volumes.api:
        return True
    try:
        target.volumes.api.volume(f"~{original.global_id}")
    except StorPoolRefused as error:
        if is_absent(error):
            return False
        raise
    return True


def _clone(target: Side, image: Image, original: Volume) -> None:
    config = target.config
    template = None if config.no_volume_template else names.template(config.one_px, target.datastore.id)
    target.volumes.create(
        names.image(config.one_px, image.id),
        base_on=original.name,
        size=_size(image, original),
        template=template,
        tags=_tags(target, image),
    )


def _copy(driver: Driver, source: Side, target: Side, image: Image, original: Volume) -> None:
    """Copy the original's data through a snapshot of it, and compare what arrived."""
    config, name = target.config, names.image(target.config.one_px, image.id)
    reader, writer = _gateway(driver, source, image.id), _gateway(driver, target, image.id)
    client = driver.client_id(writer.name, datastore=target.datastore)
    draft = Draft(target.volumes, name, writer.name, client)
    what = f"copying volume {original.name} to {name} in another cluster"
    with driver.exclusive(name), Undo(driver.log) as undo:
        if is_finished(target.volumes, name):
            return
        template = names.template(config.one_px, target.datastore.id)
        # The volume first: another front-end's run ends there, and does not take our snapshot away.
        draft.create(undo, size=_size(image, original), template=template, tags=_tags(target, image))
        snapshots, snapshot = _lend(driver, source, original, image, reader, undo)
        argv = _reading(source, reader, snapshot, original.size)
        copy = Target(writer, device(target.volumes.api.reference(name)))
        digest = _transfer(driver, argv, original.size, copy, what)
        _compare(copy, original.size, digest, what)
        # Before the copy counts as finished: a later run would not look for the snapshot any more.
        _take_back(snapshots, snapshot)
        draft.finish()


def _lend(
    driver: Driver, source: Side, original: Volume, image: Image, reader: Shell, undo: Undo
) -> tuple[Snapshots, str]:
    """A snapshot of the original, attached to the host that reads it."""
    snapshots = driver.snapshots(source.datastore)
    name = names.export_snapshot(original.name, f"clone{image.id}")
    client = driver.client_id(reader.name, datastore=source.datastore)
    with uninterrupted():
        # A killed run may have left it; an image that is being cloned does not change.
        snapshots.take(original.name, name, tags.ours(source.config), delete_after_s=SNAPSHOT_LIFE_S)
        undo.add(f"delete snapshot {name}", _take_back, snapshots, name)
        snapshots.attach([name], client)
    return snapshots, name


def _take_back(snapshots: Snapshots, name: str) -> None:
    """Should this fail, StorPool deletes it in time."""
    snapshots.detach([name])
    snapshots.delete(name)


def _reading(source: Side, reader: Shell, snapshot: str, size: int) -> list[str]:
    """The argument list that prints the snapshot's data."""
    there = device(source.volumes.api.reference(snapshot, snapshot=True))
    argv = reader.command(_READ, there, str(size), timeout_s=TIMEOUT_S)
    if reader.remote and source.config.clone_compression:
        argv.insert(1, "-C")
    return argv


def _transfer(driver: Driver, argv: list[str], size: int, target: Target, what: str) -> str:
    """Write what the command prints to the target; its SHA-256."""
    digest, progress = hashlib.sha256(), Progress(what, size, driver.log)
    with ExitStack() as stack:
        blocks = stack.enter_context(closing(fetch.of_command(driver.processes, argv, what)))
        writer = stack.enter_context(open_target(target, driver.processes))
        length = sparse.copy(sparse.pieces(_digested(blocks, digest), writer.hole), writer, progress)
        if length != size:
            raise StateError(f"{what} failed: {length} of {size} bytes were read")
        writer.finish(length)
    return digest.hexdigest()


def _digested(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _compare(copy: Target, size: int, digest: str, what: str) -> None:
    """StateError when the new volume does not hold what was read."""
    verifying = f"reading {copy.path} back"
    printed = copy.shell.run(_DIGEST, copy.path, str(size), what=verifying, timeout_s=TIMEOUT_S)
    if printed.split()[:1] != [digest]:
        raise StateError(f"{what} failed: what arrived differs from the original; try again")


def _gateway(driver: Driver, side: Side, image_id: int) -> Shell:
    """The host that reads or writes for a datastore: SP_CLONE_GW, else one of BRIDGE_LIST."""
    if side.config.sp_clone_gw:
        return bridge.on(driver, side.config.sp_clone_gw)
    return bridge.choose(driver, side.config.bridge_list, image_id)


def _size(image: Image, original: Volume) -> int:
    return max(mib_to_bytes(image.size_mib), original.size)


def _tags(target: Side, image: Image) -> dict[str, str]:
    return tags.image(target.config, qos.of_image(target.config, image, target.datastore))
