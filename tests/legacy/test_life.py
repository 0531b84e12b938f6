"""A VM that lives with the bash addon and with this driver in turn: each leaves what the other would have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from storpool_addon.lab.command import Steps
from storpool_addon.lab.hosts import NoHosts
from storpool_addon.lab.lab import CLIENT_IDS, Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests.legacy.addon import BashAddon
from tests.programs import needs
from tests.tm import cloud

Verb = Callable[[Lab], "Steps[Any]"]
DATA = b"written by the guest"


def images(lab: Lab, number: int) -> Image:
    return lab.oned.images[7 + number]


def vm(lab: Lab) -> Vm:
    return lab.oned.vms[42]


def new_image(persistent: bool = False, type: str = "OS") -> Verb:
    return lambda lab: lab.images.create(
        lab.oned.datastores[101], size_mib=4, persistent=persistent, type=type
    )


def deploy(lab: Lab) -> Steps[None]:
    lab.give_image(type="CDROM")
    lab.give_image()
    made = lab.vms.create(*(images(lab, each) for each in range(3)), Volatile(4), Volatile(4, "swap"))
    return lab.vms.deploy(made, "node1")


def poweroff_and_migrate(lab: Lab) -> Steps[None]:
    lab.vms.poweroff(vm(lab))
    return lab.vms.migrate(vm(lab), "node1")


def evacuate(lab: Lab) -> Steps[None]:
    return lab.vms.evacuate(vm(lab), "node2")


# The order of a life. Each verb is done once by each of the two, after a verb that the other has done.
LIFE: dict[str, Verb] = {
    "image": new_image(),
    "persistent image": new_image(persistent=True),
    "deploy": deploy,
    "live migration": lambda lab: lab.vms.live_migrate(vm(lab), "node2"),
    "resize": lambda lab: lab.vms.resize_disk(vm(lab), 0, 8),
    "attach": lambda lab: lab.vms.attach_disk(vm(lab), images(lab, 3)),
    "migration while off": poweroff_and_migrate,
    "snapshot": lambda lab: lab.disk_snapshots.create(vm(lab), 0),
    "snapshot of a persistent disk": lambda lab: lab.disk_snapshots.create(vm(lab), 1),
    "second snapshot": lambda lab: lab.disk_snapshots.create(vm(lab), 0),
    "revert": lambda lab: lab.disk_snapshots.revert(vm(lab), 0, 0),
    "revert of a persistent disk": lambda lab: lab.disk_snapshots.revert(vm(lab), 1, 0),
    "deletion of a snapshot": lambda lab: lab.disk_snapshots.delete(vm(lab), 0, 1),
    "resume": lambda lab: lab.vms.resume(vm(lab)),
    "stop": lambda lab: lab.vms.stop(vm(lab)),
    "resume of a stopped one": lambda lab: lab.vms.resume(vm(lab), "node2"),
    "undeploy": lambda lab: lab.vms.undeploy(vm(lab)),
    "deployment again": lambda lab: lab.vms.resume(vm(lab), "node1"),
    "rescue from a lost host": evacuate,
    "detach": lambda lab: lab.vms.detach_disk(vm(lab), 6),
    "migration with memory": lambda lab: lab.vms.migrate(vm(lab), "node1"),
    "terminate": lambda lab: lab.vms.terminate(vm(lab)),
    "deletion of an image": lambda lab: lab.images.delete(images(lab, 0)),
}


def look(lab: Lab) -> dict[str, object]:
    """Names, tags, sizes, templates, attachments, snapshots, links and marks; not what is kept aside."""
    clients = cloud.attached(lab)
    seen: dict[str, object] = {
        each["name"]: (
            "any" if each["name"].endswith("-iso") else each["size"],
            {key: word for key, word in each["tags"].items() if word},
            each["templateName"],
            clients.get(each["name"]),
        )
        for each in lab.storpool("VolumesList")
    }
    seen["snapshots"] = sorted(name for name in cloud.snapshots(lab) if "-deleted-" not in name)
    for host in ("frontend", *lab.hosts.nodes):
        seen[f"links on {host}"] = cloud.links(lab, host)
    return seen


@pytest.fixture
def labs(tmp_path: Path, installed_tree: str) -> Iterator[Callable[[], Lab]]:
    """Makes clouds, one after the other."""
    made: list[Lab] = []

    def make() -> Lab:
        try:
            made.append(Lab(str(tmp_path / f"lab{len(made)}"), installed_tree, nodes=tuple(CLIENT_IDS)[1:3]))
        except NoHosts as reason:
            pytest.skip(str(reason))
        return made[-1]

    yield make
    for each in made:
        each.close()


def live(lab: Lab, is_ours: Callable[[int], bool]) -> Iterator[tuple[str, dict[str, object]]]:
    """After each verb its name and what there is then."""
    bash = BashAddon(lab)
    for number, (name, verb) in enumerate(LIFE.items()):
        (lab if is_ours(number) else bash).do(verb(lab))
        if name == "deploy":
            Path(lab.hosts.nodes["node1"].device("one-img-7-42-0")).write_bytes(DATA)
        yield name, look(lab)


@needs("xorriso")
@pytest.mark.parametrize("first", ["bash", "ours"])
def test_each_goes_on_from_where_the_other_was(labs: Callable[[], Lab], first: str) -> None:
    """Verb by verb the world is the one in which the bash addon has done all."""
    expected = dict(live(labs(), lambda number: False))
    lab = labs()
    for name, found in live(lab, lambda number: number % 2 == (first == "bash")):
        assert not cloud.differences(expected[name], found), f"after {name}"
        if "one-img-7-42-0" in found and name != "image":
            assert lab.read_volume("one-img-7-42-0", len(DATA)) == DATA, f"after {name}"
    assert {name for name in found if name.startswith("one-")} == {"one-img-8", "one-img-9", "one-img-10"}
    assert lab.storpool("AttachmentsList") == []
