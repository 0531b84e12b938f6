"""The import of an image: from its PATH into its volume, in one pass where that is possible."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.config import Config
from storpool_addon.datastore import bridge, formats, source, sparse
from storpool_addon.datastore.fetch import Digests
from storpool_addon.datastore.filecopy import copy_file
from storpool_addon.datastore.opening import Opened, Wanted, open_image
from storpool_addon.datastore.staging import staged
from storpool_addon.datastore.writing import Local, Progress, Target, Writer, open_target
from storpool_addon.drafts import Draft
from storpool_addon.errors import HostError
from storpool_addon.hosts import qemu
from storpool_addon.hosts.vmdir import device
from storpool_addon.undo import Undo
from storpool_addon.units import bytes_to_mib_up, mib_to_bytes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.hosts.shell import Shell
    from storpool_addon.opennebula.action import DatastoreAction
    from storpool_addon.opennebula.image import Image
    from storpool_addon.volumes import Volumes


class Job(NamedTuple):
    """An image volume that is to be made, and where. what: says it in the log and in errors."""

    image: Image
    volumes: Volumes
    config: Config
    name: str
    template: str
    tags: dict[str, str]
    shell: Shell
    draft: Draft

    def create_empty(self) -> None:
        """Make the volume, which is whole as it is."""
        size = mib_to_bytes(self.image.size_mib)
        self.volumes.create(self.name, size=size, template=self.template, tags=self.tags)

    @property
    def what(self) -> str:
        return f"importing image {self.image.id} into volume {self.name}"

    @property
    def device(self) -> str:
        """The volume's device on the host that works."""
        return device(self.volumes.api.reference(self.name))

    def create(self, undo: Undo, size: int) -> None:
        """Make the volume of the image's size, or of `size` bytes when that is more."""
        size_mib = max(self.image.size_mib, bytes_to_mib_up(size), 1)
        self.draft.create(undo, size=mib_to_bytes(size_mib), template=self.template, tags=self.tags)


def job(driver: Driver, action: DatastoreAction, *, works: bool = True) -> Job:
    """The job of an image: its volume, and the host of BRIDGE_LIST that works on it.

    works: whether a host has anything to do; without it none is looked for.
    """
    image, datastore = action.the_image, action.datastore
    config = driver.config.for_datastore(datastore)
    volumes = driver.volumes(datastore)
    shell = bridge.choose(driver, config.bridge_list if works else (), image.id)
    client = driver.client_id(shell.name, datastore=datastore) if works else 0
    name = names.image(config.one_px, image.id)
    wanted = tags.image(config, qos.of_image(config, image, datastore))
    template = names.template(config.one_px, datastore.id)
    draft = Draft(volumes, name, shell.name, client)
    return Job(image, volumes, config, name, template, wanted, shell, draft)


def run(driver: Driver, task: Job, action: DatastoreAction) -> None:
    """Import the image of the action into its volume, which is whole when this returns."""
    image = task.image
    wanted = Wanted(
        path=image.path,
        config=task.config,
        digests=Digests(image.md5 or image.attribute("FROM_APP_MD5").lower(), image.sha1),
        decompress=not (image.no_decompress or task.config.no_decompress),
        marketplace=action.marketplace,
    )
    with Undo(driver.log) as undo, ExitStack() as stack:
        opened = open_image(driver, wanted, stack)
        name = formats.detect(opened.stream.head)
        driver.log(f"{task.what} on host {task.shell.name} from {opened.name}: {name}")
        if name == formats.RAW:
            _stream(driver, task, undo, opened)
        else:
            formats.check_self_contained(opened.stream.head, name)
            _convert(driver, task, undo, opened, name)
        stack.close()
        task.draft.finish()


def _stream(driver: Driver, task: Job, undo: Undo, opened: Opened) -> None:
    """A raw image goes straight into its volume."""
    task.create(undo, (opened.certain and opened.stream.length) or 0)
    progress = Progress(task.what, opened.stream.length or mib_to_bytes(task.image.size_mib), driver.log)
    make_room = task.draft.need if opened.certain else task.draft.make_room

    def room(end: int) -> None:
        progress(end)
        make_room(end)

    with open_target(Target(task.shell, task.device), driver.processes) as writer:
        length = _fill(writer, opened, room)
        writer.finish(length)
    driver.log(f"{task.what}: {length} bytes")


def _fill(writer: Writer, opened: Opened, room: Callable[[int], None]) -> int:
    """Write the raw image; its length. The holes of a local file are not read unless it is to be digested."""
    if opened.fd is None or opened.digested:
        return sparse.copy(sparse.pieces(opened.stream.blocks, writer.hole), writer, room)
    if isinstance(writer, Local):
        return copy_file(opened.fd, writer, room)
    return sparse.copy(sparse.file_pieces(opened.fd), writer, room)


def _convert(driver: Driver, task: Job, undo: Undo, opened: Opened, name: str) -> None:
    """Any other image goes through qemu-img: from where it is, else from a file beside the volume."""
    with ExitStack() as stack:
        image, size = _in_place(driver, task, opened, name) or _staged(driver, task, opened, name, stack)
        task.create(undo, size)
        qemu.convert(driver.processes, task.shell, image, task.device, task.what, driver.log)


def _in_place(driver: Driver, task: Job, opened: Opened, name: str) -> tuple[qemu.Image, int] | None:
    """The image as qemu-img on the host that works can read it without a copy, and its virtual size."""
    if opened.fd is not None and not task.shell.remote and not source.changed_by_others(opened.fd):
        for _ in opened.stream.blocks if opened.digested else ():
            pass
        image = qemu.Image(name, qemu.STDIN, opened.fd)
        return image, qemu.virtual_size(driver.processes, task.shell, image, task.what)
    if opened.url:
        image = qemu.Image(name, opened.url)
        try:
            return image, qemu.virtual_size(driver.processes, task.shell, image, task.what)
        except HostError as error:
            # Most likely qemu's block driver for it is not installed there (Debian: qemu-block-extra).
            driver.log(f"{error}; copying the image there first")
    return None


def _staged(driver: Driver, task: Job, opened: Opened, name: str, stack: ExitStack) -> tuple[qemu.Image, int]:
    """The image as a private file on the host that works, and its virtual size."""
    path = stack.enter_context(staged(task.shell, task.config.staging_dir, task.name))
    with open_target(Target(task.shell, path, device=False), driver.processes) as writer:
        progress = Progress(f"{task.what} (copying to {path})", opened.stream.length or 0, driver.log)
        writer.finish(sparse.copy(sparse.pieces(opened.stream.blocks, writer.hole), writer, progress))
    image = qemu.Image(name, path)
    return image, qemu.virtual_size(driver.processes, task.shell, image, task.what)
