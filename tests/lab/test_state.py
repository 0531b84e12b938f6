"""Pictures of the world: the same for the same state, and another for another."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.state import State, digest, picture, tree


def with_a_deleted_clone(lab: Lab) -> State:
    """A clone of the image, and a snapshot of it that is named after the clone's global id."""
    clone = lab.storpool("VolumeCreate", {"name": "clone", "baseOn": "one-img-7"})
    body = {"name": f"clone-deleted-{clone['globalId']}", "tags": {"deleted": "clone"}}
    lab.storpool("VolumeSnapshot/clone", body)
    return picture(lab)


def test_made_up_names_are_not_in_the_picture(lab: Lab) -> None:
    lab.give_image()
    one = with_a_deleted_clone(lab)
    lab.storpool("VolumeDelete/clone", {})
    for snapshot in lab.storpool("SnapshotsList"):
        if snapshot["name"].startswith("clone-"):
            lab.storpool(f"SnapshotDelete/{snapshot['name']}", {})
    other = with_a_deleted_clone(lab)
    assert other.differences(one) == []
    assert other.snapshots[0].startswith("clone-deleted-* ")


@pytest.mark.parametrize(
    ("query", "body", "difference"),
    [
        ("VolumeUpdate/one-img-7", {"tags": {"a": "b"}}, "volume"),
        ("VolumeUpdate/one-img-7", {"size": 8 << 20}, "volume"),
        ("VolumeSnapshot/one-img-7", {"name": "snap"}, "snapshot"),
        ("VolumesReassignWait", {"reassign": [{"volume": "one-img-7", "rw": [11]}]}, "attachment"),
    ],
)
def test_a_change_of_storpool_is_in_the_picture(
    lab: Lab, query: str, body: dict[str, object], difference: str
) -> None:
    lab.give_image()
    before = picture(lab)
    lab.storpool(query, body)
    assert difference in {line.split()[1] for line in picture(lab).differences(before)}


def test_bytes_and_files_are_in_the_picture(lab: Lab) -> None:
    lab.give_image(content=b"before")
    before = picture(lab)
    lab.write_volume("one-img-7", b"after")
    lab.hosts.nodes["node2"].write("/var/lib/one/datastores/100/42/x", "")
    lines = picture(lab).differences(before)
    assert [line.split()[:3] for line in lines] == [
        ["+", "volume", "one-img-7"],
        ["-", "volume", "one-img-7"],
        ["+", "file", "node2:/datastores"],
        ["+", "file", "node2:/datastores/100"],
        ["+", "file", "node2:/datastores/100/42"],
        ["+", "file", "node2:/datastores/100/42/x"],
    ]


def test_differences_say_what_is_more_and_what_is_less() -> None:
    ours = State(["a", "b", "b"], [], ["x on node1 rw"], [])
    wanted = State(["a", "b", "c"], [], [], [])
    assert ours.differences(wanted) == ["+ volume b", "- volume c", "+ attachment x on node1 rw"]
    assert ours.differences(ours) == []


def test_files_are_compared_by_what_is_in_them(tmp_path: os.PathLike[str]) -> None:
    root = os.path.join(tmp_path, "root")
    os.makedirs(os.path.join(root, "remotes"))
    os.makedirs(os.path.join(root, "directory"))
    os.symlink("/dev/storpool/x", os.path.join(root, "directory", "disk.0"))
    assert sorted(tree(root)) == ["/directory directory", "/directory/disk.0 -> /dev/storpool/x"]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (b"", b"\0" * 9000, True),
        (b"x", b"x" + b"\0" * (2 << 20), True),
        (b"x" + b"\0" * (1 << 20) + b"y", b"x" + b"\0" * (1 << 20) + b"y\0", True),
        (b"x\0y", b"xy", False),
    ],
)
def test_a_zero_at_the_end_is_nothing(
    tmp_path: os.PathLike[str], one: bytes, other: bytes, is_same: bool
) -> None:
    digests = []
    for number, content in enumerate((one, other)):
        path = os.path.join(tmp_path, str(number))
        with open(path, "wb") as file:
            file.write(content)
        digests.append(digest(path))
    assert (digests[0] == digests[1]) == is_same
