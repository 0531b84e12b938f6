"""The export of an image to a marketplace: what is read stays as it is until the marketplace has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, tags
from storpool_addon.config import Config
from storpool_addon.datastore import bridge
from storpool_addon.errors import ConfigError, StateError, UsageError
from storpool_addon.hosts import longwork
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.vmdir import DEVICES, device
from storpool_addon.opennebula.action import DatastoreAction
from storpool_addon.opennebula.protocol import Optional, number, protocol, text
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import bytes_to_mib_up

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.hosts.shell import Shell
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.snapshots import Snapshots

# A marketplace that fails does not say so to us: StorPool deletes the snapshot by itself, and the next export
# of the image removes a file as old as that.
LIFE_S = 48 * 3600
TIMEOUT_S = 24 * 3600.0
RAW = "raw"
# The marketplaces' scripts split DISPOSE_CMD at blanks, and give IMPORT_SOURCE to a shell (remotes/market of
# http and s3): what has a meaning there must not be in them.
_PLAIN = re.compile(r"/[A-Za-z0-9_.:/+-]*", re.ASCII)
_DIGEST = PRELUDE + longwork.WATCH + 'wait_for "$1"; watched md5sum -- "$1"\n'
_CONVERT = (
    PRELUDE
    + longwork.WATCH
    + r"""
source=$1 directory=$2 volume=$3 name=$4 format=$5 minutes=$6; shift 6
umask 077
[ -d "$directory" ] || fail "$directory is no directory on this host; correct STAGING_DIR"
find "$directory" -maxdepth 1 -type f -user "$(id -u)" -name "$volume-export-*" -mmin "+$minutes" -delete
temporary=$(mktemp -- "$directory/$name.XXXXXXXXXX")
trap 'rm -f -- "$temporary"' EXIT
wait_for "$source"
watched qemu-img convert "$@" -f raw -O "$format" "$source" "$temporary" >/dev/null
sync "$temporary"
sum=$(watched md5sum -- "$temporary")
mv -fT -- "$temporary" "$directory/$name"
printf '%s\n' "$sum"
"""
)
_REMOVE = (
    PRELUDE
    + r"""
if [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]; then rm -f -- "$1"
elif [ -e "$1" ] || [ -L "$1" ]; then fail "$1 is not a file that an export made"; fi
"""
)


class Job(NamedTuple):
    """An export. name: of the snapshot, and of the file that is made of it. size: bytes of the volume."""

    datastore: Datastore
    config: Config
    snapshots: Snapshots
    volume: str
    name: str
    size: int
    shell: Shell
    client: int

    @property
    def what(self) -> str:
        return f"exporting volume {self.volume}"


@protocol(app_id=number, stdin=("action", DatastoreAction.parse))
def export(driver: Driver, app_id: int, action: DatastoreAction) -> str:
    """Offer an image to a marketplace: as the device of a snapshot, or as a file. Answers IMPORT_INFO.

    app_id: of the marketplace's app that the image becomes.
    """
    job = _job(driver, app_id, action)
    wanted = job.config.export_file_format
    # Two runs for one app work on the same snapshot and file.
    with driver.exclusive(job.name):
        path, md5 = _file(driver, job, wanted) if wanted else _device(driver, job)
    return _answer(driver, job, path, md5, wanted or RAW)


@protocol(host=text, path=text, datastore_id=Optional(number))
def export_delete(driver: Driver, host: str, path: str, datastore_id: int | None = None) -> None:
    """Remove what an export left for the marketplace: the snapshot with its device, or the file.

    datastore_id: the bash addon's exports do not tell it; then the image is asked for.
    """
    directory, _, name = path.rpartition("/")
    image_id = names.of_export(driver.config.one_px, name)
    if datastore_id is None:
        datastore_id = driver.one.image(image_id).datastore_id
    datastore = driver.one.datastore(datastore_id)
    if directory == DEVICES:
        driver.snapshots(datastore).delete(name)
        return
    config = driver.config.for_datastore(datastore)
    if directory != _staging_dir(config):
        raise UsageError(f"{path!r} is neither a device of StorPool nor in STAGING_DIR; nothing was removed")
    if host not in (*_bridges(config), driver.hosts.here.name):
        raise StateError(f"host {host} exports no images of datastore {datastore_id}; {path} was not removed")
    _remove(bridge.on(driver, host), path)


def _job(driver: Driver, app_id: int, action: DatastoreAction) -> Job:
    datastore, image = action.datastore, action.the_image
    config = driver.config.for_datastore(datastore)
    _staging_dir(config)
    volume = driver.volumes(datastore).owned(names.of_source(image.source))
    shell = bridge.choose(driver, _bridges(config), image.id)
    return Job(
        datastore,
        config,
        driver.snapshots(datastore),
        volume.name,
        names.export_snapshot(volume.name, str(app_id)),
        volume.size,
        shell,
        driver.client_id(shell.name, datastore=datastore),
    )


def _bridges(config: Config) -> tuple[str, ...]:
    return config.export_bridge_list or config.bridge_list


def _staging_dir(config: Config) -> str:
    if not _PLAIN.fullmatch(config.staging_dir) or ".." in config.staging_dir.split("/"):
        raise ConfigError(
            f"STAGING_DIR {config.staging_dir!r} cannot be for exports: an absolute path of letters,"
            " digits and _ . : + - is needed"
        )
    return config.staging_dir.rstrip("/")


def _device(driver: Driver, job: Job) -> tuple[str, str]:
    """The device of a snapshot, which stays attached, and the MD5 of all that it gives."""
    with Undo(driver.log) as undo:
        _take(job, undo)
        printed = longwork.run(
            driver.processes, job.shell, _DIGEST, device(job.name), what=job.what, timeout_s=TIMEOUT_S
        )
        return device(job.name), _md5(job, printed)


def _file(driver: Driver, job: Job, wanted: str) -> tuple[str, str]:
    """A file of that format beside the device, which then goes, and the file's MD5."""
    directory = _staging_dir(job.config)
    path = f"{directory}/{job.name}"
    words = (directory, job.volume, job.name, wanted, str(LIFE_S // 60), *job.config.export_qemu_img_args)
    with Undo(driver.log) as undo:
        _take(job, undo)
        undo.add(f"remove {path}", _remove, job.shell, path)
        printed = longwork.run(
            driver.processes,
            job.shell,
            _CONVERT,
            device(job.name),
            *words,
            what=job.what,
            timeout_s=TIMEOUT_S,
        )
        job.snapshots.delete(job.name)
        return path, _md5(job, printed)


def _remove(shell: Shell, path: str) -> None:
    shell.run(_REMOVE, path, what=f"removing {path}")


def _take(job: Job, undo: Undo) -> None:
    """A snapshot of the image, attached to the host that exports it."""
    with uninterrupted():
        if job.snapshots.take(job.volume, job.name, tags.ours(job.config), delete_after_s=LIFE_S):
            undo.add(f"delete snapshot {job.name}", job.snapshots.delete, job.name)
        job.snapshots.attach([job.name], job.client)


def _md5(job: Job, printed: str) -> str:
    md5 = printed.split()[0] if printed.split() else ""
    if not re.fullmatch("[0-9a-f]{32}", md5):
        raise StateError(f"{job.what} failed: host {job.shell.name} gave no MD5 but {printed[:80]!r}")
    return md5


def _answer(driver: Driver, job: Job, path: str, md5: str, image_format: str) -> str:
    command = f"{driver.remotes}/datastore/storpool/export.delete {job.shell.name} {path} {job.datastore.id}"
    # downloader.sh takes a file of the front-end by its plain path.
    there = f"{job.config.export_transport}://{job.shell.name}:{path}" if job.shell.remote else path
    values = {
        "IMPORT_SOURCE": there,
        "MD5": md5,
        "SIZE": bytes_to_mib_up(job.size),
        "FORMAT": image_format,
        "DISPOSE": "YES",
        "DISPOSE_CMD": command,
    }
    inside = "".join(f"<{key}><![CDATA[{value}]]></{key}>" for key, value in values.items())
    return f"<IMPORT_INFO>{inside}</IMPORT_INFO>"
