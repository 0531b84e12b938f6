"""mkfs and rm: what is made is whole, what is deleted is exactly that."""

from __future__ import annotations

import base64
import hashlib

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.objects import Image
from tests.datastore import scene
from tests.programs import needs
from tests.tm.test_terminated import Terminated

MIB = 1 << 20


def mkfs(lab: Lab, **changes: object) -> tuple[Image, Command]:
    """An empty image of oned's, and the command that makes it."""
    attributes = changes.pop("attributes", {})
    image = lab.images.allocate(lab.oned.datastores[101], "DATABLOCK", False, 16)
    image.format = "raw"
    image.attributes.update(attributes)  # type: ignore[arg-type]
    for key, value in changes.items():
        setattr(image, key, value)
    return image, next(lab.images.fill(image))


def test_empty_image(lab: Lab) -> None:
    image, command = mkfs(lab)
    result = lab.run(command)
    assert scene.answer(result) == f"one-ds-101/one-img-{image.id}\n"
    assert [call.what.split()[0] for call in result.calls] == ["VolumeCreate"]
    scene.is_whole(lab, image, b"", 16)


def test_empty_image_made_again_is_the_same(lab: Lab) -> None:
    image, command = mkfs(lab)
    assert scene.answer(lab.run(command)) == scene.answer(lab.run(command))
    scene.is_whole(lab, image, b"", 16)


@pytest.mark.parametrize("bridges", ["", "node1"], ids=["frontend", "node1"])
@pytest.mark.parametrize(
    ("fs", "offset", "magic"),
    [
        ("ext4", 1080, b"\x53\xef"),
        ("EXT2", 1080, b"\x53\xef"),
        ("swap", 4086, b"SWAPSPACE2"),
    ],
)
def test_image_with_a_file_system(lab: Lab, fs: str, offset: int, magic: bytes, bridges: str) -> None:
    scene.use(lab, bridges)
    image, command = mkfs(lab, fs=fs)
    for _ in range(2):
        assert scene.answer(lab.run(command)) == f"one-ds-101/one-img-{image.id}\n"
    assert lab.read_volume(f"one-img-{image.id}")[offset : offset + len(magic)] == magic
    (volume,) = lab.storpool(f"Volume/one-img-{image.id}")
    assert volume["tags"].get("unfinished", "") == "" and lab.storpool("AttachmentsList") == []


def test_a_signal_leaves_no_draft(lab: Lab) -> None:
    """P2: not even one that comes while StorPool makes the volume."""
    _, command = mkfs(lab, fs="ext4")
    for call in range(1, 20):
        run = Terminated(lab, command, call)
        if not run.was_struck:
            break
        assert run.exit_code == 143 and scene.nothing_is_left(lab), f"call {call}: {run.stderr!r}"
    assert call > 4 and run.exit_code == 0


@needs("mkfs.xfs")
def test_xfs_needs_more_room(lab: Lab) -> None:
    image, command = mkfs(lab, fs="xfs", size_mib=300)
    scene.answer(lab.run(command))
    assert lab.read_volume(f"one-img-{image.id}", 4) == b"XFSB"
    image, command = mkfs(lab, fs="xfs", size_mib=4)
    assert "making xfs on volume" in scene.fails(lab, command)
    assert len(lab.storpool("VolumesList")) == 1


def test_options_of_mkfs_come_from_the_configuration(lab: Lab) -> None:
    lab.configure(FS_OPTS_ext4="-L a-label")
    image, command = mkfs(lab, fs="ext4")
    scene.answer(lab.run(command))
    assert lab.read_volume(f"one-img-{image.id}", 2048)[1144:1151] == b"a-label"


def test_image_to_be_saved_into_is_only_a_name(lab: Lab) -> None:
    image, command = mkfs(lab, format="save_as")
    result = lab.run(command)
    assert scene.answer(result) == f"one-ds-101/one-img-{image.id}\n"
    assert result.calls == [] and lab.storpool("VolumesList") == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"format": "qcow2"}, "FORMAT 'qcow2' is not possible in StorPool; use raw"),
        ({"attributes": {"DRIVER": "qcow2"}}, "DRIVER 'qcow2' is not possible in StorPool; use raw"),
        ({"fs": "ext4 /dev/sda"}, "is not supported; use ext4"),
        ({"fs": "btrfs"}, "FS 'btrfs' is not supported"),
        ({"size_mib": 0}, "a size of 0 MiB is not possible"),
        ({"size_mib": 1 << 63}, "SIZE is '9223372036854775808'"),
        ({"size_mib": -5}, "SIZE is '-5'"),
    ],
)
def test_what_cannot_be_made_says_why(lab: Lab, changes: dict[str, object], error: str) -> None:
    _, command = mkfs(lab, **changes)
    result = lab.run(command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert error in result.stderr and len(result.stderr.splitlines()) == 1
    assert scene.nothing_is_left(lab)


def test_volume_of_another_instance_is_not_taken(lab: Lab) -> None:
    image, command = mkfs(lab)
    tags = {"virt": "one", "nloc": "other"}
    lab.storpool("VolumeCreate", {"name": f"one-img-{image.id}", "size": 16 * MIB, "tags": tags})
    assert "is not ours" in scene.fails(lab, command)


def rm(lab: Lab, image: Image) -> Command:
    return next(lab.images.delete(image))


def test_deleted_image_is_kept_for_a_while(lab: Lab) -> None:
    image = lab.give_image(content=b"precious")
    command = rm(lab, image)
    for _ in range(2):
        scene.answer(lab.run(command))
    assert lab.storpool("VolumesList") == []
    (kept,) = lab.storpool("SnapshotsList")
    assert kept["tags"]["deleted"] == f"one-img-{image.id}" and kept["tags"]["nloc"] == "one"
    assert kept["targetDeleteDate"]


def test_image_that_is_attached_is_deleted_too(lab: Lab) -> None:
    image = lab.give_image()
    reassign = [{"volume": f"one-img-{image.id}", "rw": [11]}]
    lab.storpool("VolumesReassignWait", {"reassign": reassign})
    scene.answer(lab.run(rm(lab, image)))
    assert lab.storpool("VolumesList") == lab.storpool("AttachmentsList") == []


def test_only_the_snapshots_of_that_image_go_with_it(lab: Lab) -> None:
    """By their exact names: not those of image 71 when image 7 goes, nor what only contains the name."""
    lab.configure(DELAY_DELETE="")
    image = lab.give_image()
    name = f"one-img-{image.id}"
    tags = {"virt": "one", "nloc": "one"}
    others = [
        f"{name}1-snap0",
        f"dev-{name}-snap0",
        f"{name}-snap0-backup",
        f"{name}-snap1",
        f"{name}-snap12",
    ]
    for snapshot in (f"{name}-snap0", f"{name}-snap2", *others):
        lab.storpool(f"VolumeSnapshot/{name}", {"name": snapshot, "tags": tags})
    command = rm(lab, image)
    document = base64.b64decode(command.stdin).replace(
        b"</SNAPSHOTS>",
        b"<SNAPSHOT><ID>0</ID></SNAPSHOT><SNAPSHOT><ID>2</ID></SNAPSHOT></SNAPSHOTS>",
    )
    scene.answer(lab.run(command._replace(stdin=base64.b64encode(document))))
    left = {each["name"] for each in lab.storpool("SnapshotsList") if not each["name"].startswith("*")}
    assert left == set(others)


def test_image_of_another_instance_is_not_deleted(lab: Lab) -> None:
    image = lab.give_image()
    name = f"one-img-{image.id}"
    lab.storpool(f"VolumeUpdate/{name}", {"tags": {"nloc": "other"}})
    assert "is not ours" in scene.fails(lab, rm(lab, image))
    assert lab.storpool(f"Volume/{name}")


def test_image_with_the_source_of_another_deletes_nothing_else(lab: Lab) -> None:
    victim, image = lab.give_image(), lab.give_image()
    lab.storpool(f"VolumeDelete/one-img-{image.id}", {})
    image.source = victim.source
    scene.answer(lab.run(rm(lab, image)))
    assert lab.storpool(f"Volume/one-img-{victim.id}")


def test_half_written_image_is_not_worth_keeping(lab: Lab) -> None:
    image = lab.give_image()
    lab.storpool(f"VolumeUpdate/one-img-{image.id}", {"tags": {"unfinished": "node1"}})
    scene.answer(lab.run(rm(lab, image)))
    assert lab.storpool("VolumesList") == lab.storpool("SnapshotsList") == []


@pytest.mark.parametrize(("tags", "left"), [({"virt": "one", "nloc": "one"}, 0), ({}, 1)])
def test_staging_volume_of_the_bash_addon_goes_when_it_is_ours(
    lab: Lab, tags: dict[str, str], left: int
) -> None:
    lab.configure(DELAY_DELETE="")
    image = lab.give_image()
    digest = hashlib.md5(f"one-img-{image.id}\n".encode()).hexdigest()
    body = {"name": f"one-img-{image.id}-{digest}", "size": MIB, "template": "one-ds-101", "tags": tags}
    lab.storpool("VolumeCreate", body)
    scene.answer(lab.run(rm(lab, image)))
    assert len(lab.storpool("VolumesList")) == left


@pytest.mark.parametrize("action", ["backup", "restore"])
def test_datastore_does_not_keep_backups(lab: Lab, action: str) -> None:
    result = lab.run(
        Command(f"datastore/storpool/{action}", ("a:/b", "0", "uuid", "-", "1", "2"), b"<DATASTORE/>")
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{action}: operation not supported" in result.stderr
