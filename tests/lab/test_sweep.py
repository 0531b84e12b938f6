"""Pictures of the world, worlds put aside, and a sweep that finds what it is there to find."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.state import State, digest, picture, tree
from storpool_addon.lab.sweep import faults, sweep

FILE = "/var/lib/one/datastores/note"
SAY = "echo 'node1: no' >&2; exit 1;"


def script(lab: Lab, body: str) -> Command:
    lab.hosts.frontend.write("/var/lib/one/remotes/tm/own/try", f"#!/bin/bash\nset -e\n{body}\n", 0o755)
    lab.hosts.nodes["node1"].write("/var/lib/one/datastores/x", "")
    return Command("tm/own/try", ())


@pytest.mark.parametrize(
    ("body", "complaints"),
    [
        # Says what it wants; run again it wants the same.
        (f"ssh -- node1 'echo x > {FILE}' 2>/dev/null || {{ {SAY} }}", []),
        # Adds: after a lost answer it adds twice.
        (
            f"ssh -- node1 'echo x >> {FILE}' 2>/dev/null || {{ {SAY} }}",
            ["fail after", "kill after"],
        ),
        # Claims success whatever happened.
        (f"ssh -- node1 'echo x > {FILE}' || :", ["fail before"]),
        # Says nothing to the person who has to act.
        (f"ssh -- node1 'echo x > {FILE}' 2>/dev/null", ["fail before", "fail after"]),
        # Cannot be run again.
        (
            f"ssh -- node1 'mkdir {FILE}' 2>/dev/null || {{ {SAY} }}",
            ["fail after", "kill after"],
        ),
    ],
)
def test_a_sweep_finds_what_is_wrong(lab: Lab, body: str, complaints: list[str]) -> None:
    found = sweep(lab, script(lab, body))
    assert len(list(faults(1))) == 5
    struck = dict.fromkeys(f"{each.fault.how} {each.fault.when}" for each in found)
    assert list(struck) == complaints, list(map(str, found))


def test_a_world_comes_back(lab: Lab) -> None:
    image = lab.give_image(content=b"before", persistent=True)
    lab.hosts.nodes["node1"].write("/var/lib/one/datastores/100/42/x", "before")
    before, saved = picture(lab), lab.save()
    lab.write_volume(f"one-img-{image.id}", b"after!")
    lab.give_image()
    item = {"volume": "one-img-7", "rw": [11]}
    lab.storpool("VolumesReassignWait", {"reassign": [item], "attachTimeout": 10})
    lab.hosts.nodes["node1"].write("/var/lib/one/datastores/100/42/y", "after")
    lab.oned.images[image.id].persistent = False
    port = lab.simulator.endpoint.port
    assert picture(lab) != before
    for _ in range(2):
        lab.restore(saved)
        assert picture(lab) == before
    assert lab.oned.images[image.id].persistent
    assert lab.simulator.endpoint.port == port
    assert lab.hosts.nodes["node1"].run("cat /var/lib/one/datastores/100/42/x").stdout == "before"


def test_made_up_names_are_not_in_the_picture(lab: Lab) -> None:
    lab.give_image()
    empty = lab.save()
    pictures = []
    for _ in range(2):
        lab.restore(empty)
        # Another object before it gives it another global id.
        for _ in range(len(pictures)):
            lab.storpool("VolumeCreate", {"name": "passing", "size": 1 << 20, "template": "one-ds-101"})
            lab.storpool("VolumeDelete/passing", {})
        clone = lab.storpool("VolumeCreate", {"name": "clone", "baseOn": "one-img-7"})
        body = {"name": f"clone-deleted-{clone['globalId']}", "tags": {"deleted": "clone"}}
        lab.storpool("VolumeSnapshot/clone", body)
        pictures.append(picture(lab))
    assert pictures[0].volumes == pictures[1].volumes
    assert pictures[0].snapshots == pictures[1].snapshots
    assert pictures[0].snapshots[0].startswith("clone-deleted-* ")


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
