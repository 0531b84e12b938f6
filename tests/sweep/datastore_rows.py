"""The datastore's rows of the table."""

from __future__ import annotations

import base64
import functools
import random
import tempfile
from typing import Callable

from storpool_addon.lab.command import REMOTES, Command
from storpool_addon.lab.lab import CLIENT_IDS, Lab
from storpool_addon.lab.market import disposal
from storpool_addon.lab.objects import Image
from tests import programs
from tests.datastore.imageserver import ImageServer
from tests.sweep import scene
from tests.sweep.ground import SECOND_DATASTORE, Ground
from tests.sweep.row import Row

# Data, a hole, and an end that is no whole sector.
DISK = random.Random(9).randbytes(300_000) + bytes(1 << 20) + b"the end"
SIZE_MIB = 2
PATH = "/var/tmp/image"
Prepare = Callable[[Ground], Command]


@functools.cache
def qcow2() -> bytes:
    """The disk in another format."""
    with tempfile.TemporaryDirectory() as directory:
        raw, image = f"{directory}/raw", f"{directory}/image"
        with open(raw, "wb") as file:
            file.write(DISK)
        programs.run("qemu-img", "convert", "-O", "qcow2", raw, image)
        with open(image, "rb") as file:
            return file.read()


@functools.cache
def web() -> ImageServer:
    """A web server with the disk, until the tests end."""
    return ImageServer(DISK).__enter__()


def stat(lab: Ground) -> Command:
    lab.hosts.frontend.write(PATH, qcow2())
    return scene.upto(lab.images.create(lab.oned.datastores[101], path=PATH), "stat")


def image(lab: Ground, *, path: str = "", bridge: str = "", fs: str = "") -> Image:
    """An image that oned has allocated, in a datastore that works through a host."""
    lab.oned.datastores[101].attributes["BRIDGE_LIST"] = bridge
    made = lab.images.allocate(lab.oned.datastores[101], "OS", False, SIZE_MIB)
    made.path, made.fs = path, fs
    made.format = "" if path else "raw"
    return made


def cp(content: Callable[[], bytes], bridge: str = "") -> Prepare:
    """The import of a file of the front-end."""

    def prepare(lab: Ground) -> Command:
        lab.hosts.frontend.write(PATH, content())
        return next(lab.images.fill(image(lab, path=PATH, bridge=bridge)))

    return prepare


def raw() -> bytes:
    return DISK


def cp_http(lab: Ground) -> Command:
    return next(lab.images.fill(image(lab, path=web().url)))


def cp_from_snapshot(lab: Ground) -> Command:
    """A disk of a running VM, as a snapshot of the VM has it."""
    vm = scene.machine(lab, lab.give_image(content=DISK, size_mib=SIZE_MIB))
    name = f"one-img-7-{vm.id}-0"
    lab.storpool(f"VolumeSnapshot/{name}", {"name": f"{name}-ONESNAP-0-1", "tags": scene.OURS})
    vm.attributes["SNAPSHOT"] = {"SNAPSHOT_ID": "0", "HYPERVISOR_ID": "ONESNAP-0-1"}
    return next(lab.images.fill(image(lab, path=f"/x/VM:{vm.id}-VMSNAP:0-DISK:0")))


def mkfs(fs: str = "", bridge: str = "") -> Prepare:
    return lambda lab: next(lab.images.fill(image(lab, fs=fs, bridge=bridge)))


def mkfs_save_as(lab: Ground) -> Command:
    made = image(lab)
    made.format = "save_as"
    return next(lab.images.fill(made))


def clone(lab: Ground) -> Command:
    return next(lab.images.clone(lab.give_image(content=DISK, size_mib=SIZE_MIB)))


def clone_across(lab: Ground) -> Command:
    lab.add_second()
    original = lab.give_image(content=DISK, size_mib=SIZE_MIB)
    return next(lab.images.clone(original, lab.oned.datastores[SECOND_DATASTORE]))


def rm(lab: Ground) -> Command:
    return next(lab.images.delete(lab.give_image(content=DISK)))


def rm_with_snapshots(lab: Ground) -> Command:
    """Two of the snapshots are in oned's document; a third is not, and stays."""
    made = lab.give_image(content=DISK)
    for number in range(3):
        name = f"one-img-{made.id}-snap{number}"
        lab.storpool(f"VolumeSnapshot/one-img-{made.id}", {"name": name, "tags": scene.OURS})
    command = next(lab.images.delete(made))
    listed = b"".join(b"<SNAPSHOT><ID>%d</ID><SIZE>4</SIZE></SNAPSHOT>" % number for number in range(2))
    document = base64.b64decode(command.stdin).replace(b"</SNAPSHOTS>", listed + b"</SNAPSHOTS>")
    return command._replace(stdin=base64.b64encode(document))


def export(lab: Ground) -> Command:
    """An image on its way to a marketplace, through a host."""
    lab.oned.datastores[101].attributes["BRIDGE_LIST"] = "node1"
    return lab.market.export(lab.give_image(content=DISK, size_mib=SIZE_MIB), 31)


def export_delete(lab: Ground) -> Command:
    """The marketplace has got the image."""
    made = lab.give_image(content=DISK, size_mib=SIZE_MIB)
    name = f"one-img-{made.id}-export-31"
    lab.storpool(f"VolumeSnapshot/one-img-{made.id}", {"name": name, "tags": scene.OURS})
    attached = {"snapshot": name, "ro": [CLIENT_IDS["node1"]]}
    Lab.storpool(lab, "VolumesReassignWait", {"reassign": [attached], "attachTimeout": 10})
    return disposal(f"{REMOTES}/datastore/storpool/export.delete node1 /dev/storpool/{name} 101")


def monitor(lab: Ground) -> Command:
    return next(lab.images.monitor(lab.oned.datastores[101]))


ROWS = (
    Row("stat", stat),
    Row("cp-raw", cp(raw)),
    Row("cp-raw-by-ssh", cp(raw, "node1")),
    Row("cp-qcow2", cp(qcow2), needs="qemu-img"),
    Row("cp-qcow2-by-ssh", cp(qcow2, "node1"), needs="qemu-img"),
    Row("cp-http", cp_http),
    Row("cp-from-snapshot", cp_from_snapshot),
    Row("mkfs", mkfs()),
    Row("mkfs-ext4", mkfs("ext4")),
    Row("mkfs-ext4-by-ssh", mkfs("ext4", "node1")),
    Row("mkfs-save-as", mkfs_save_as),
    Row("image-clone", clone),
    Row("image-clone-across", clone_across),
    Row("rm", rm, undoes=False),
    Row("rm-with-snapshots", rm_with_snapshots, undoes=False),
    Row("export", export),
    Row("export-qcow2", export, settings={"EXPORT_FILE_FORMAT": "qcow2"}, needs="qemu-img"),
    Row("export-delete", export_delete, undoes=False),
    Row("ds-monitor", monitor),
)
