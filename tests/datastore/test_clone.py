"""clone: StorPool's own where it can, a verified copy where it must; and never half of one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.datastore import clone as clones
from storpool_addon.datastore.writing import Target
from storpool_addon.errors import StateError
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Hosts
from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.objects import Image
from tests.datastore import scene
from tests.datastore.scene import DISK
from tests.second import Second

MIB = 1 << 20


def clone(lab: Lab, image: Image, datastore: int = 101) -> Command:
    return next(lab.images.clone(image, lab.oned.datastores[datastore]))


def copied(lab: Lab, image: Image, datastore: int = 101) -> Image:
    return lab.do(lab.images.clone(image, lab.oned.datastores[datastore]))


def test_clone_in_the_same_datastore(lab: Lab) -> None:
    image = lab.give_image(content=b"the original", size_mib=4)
    results = []
    copy = lab.do(lab.images.clone(image), lambda command, result: results.append(result))
    assert results[0].stdout == f"one-ds-101/one-img-{copy.id} raw\n"
    scene.is_whole(lab, copy, b"the original", 4)
    assert [call.kind for call in results[0].calls] == ["rpc", "api", "api"]


def test_clone_made_again_is_the_same(lab: Lab) -> None:
    command = clone(lab, lab.give_image(content=b"x"))
    assert scene.answer(lab.run(command)) == scene.answer(lab.run(command))


def test_clone_is_as_large_as_oned_says_and_never_cut(lab: Lab) -> None:
    image = lab.give_image(content=b"x", size_mib=4)
    image.size_mib = 9
    scene.is_whole(lab, copied(lab, image), b"x", 9)
    image.size_mib = 2
    scene.is_whole(lab, copied(lab, image), b"x", 4)


def test_clone_into_another_datastore_of_the_cluster(lab: Lab) -> None:
    lab.configure(NO_VOLUME_TEMPLATE="0")
    lab.storpool("VolumeTemplateCreate", {"name": "one-ds-102", "replication": 3, "placeAll": "hdd"})
    other = lab.oned.add_image_datastore(102)
    copy = copied(lab, lab.give_image(content=b"x"), other.id)
    assert copy.source == f"one-ds-{other.id}/one-img-{copy.id}"
    (volume,) = lab.storpool(f"Volume/one-img-{copy.id}")
    assert volume["templateName"] == f"one-ds-{other.id}"


def test_one_cluster_with_two_addresses_is_one_cluster(lab: Lab) -> None:
    other = lab.oned.add_image_datastore(102)
    host, port, token = lab.simulator.endpoint
    other.attributes.update(
        SP_API_HTTP_HOST=f"localhost,{host}", SP_API_HTTP_PORT=str(port), SP_AUTH_TOKEN=token
    )
    copy = copied(lab, lab.give_image(content=b"x"), other.id)
    (volume,) = lab.storpool(f"Volume/one-img-{copy.id}")
    assert volume["parentName"].startswith("one-img-")


@pytest.mark.parametrize("path", ["", "one-img-1", "one-ds-x/one-img-1", "one-ds-101/one-img-1; id", "../x"])
def test_source_that_is_none_of_ours(lab: Lab, path: str) -> None:
    image = lab.give_image()
    image.source = path
    result = lab.run(clone(lab, image))
    assert (result.exit_code, result.stdout) == (2, "") and "is not the SOURCE" in result.stderr


def test_original_that_is_gone(lab: Lab) -> None:
    image = lab.give_image()
    lab.storpool(f"VolumeDelete/one-img-{image.id}", {})
    assert f"volume one-img-{image.id} does not exist" in scene.fails(lab, clone(lab, image))


def test_original_of_another_instance(lab: Lab) -> None:
    image = lab.give_image()
    lab.storpool(f"VolumeUpdate/one-img-{image.id}", {"tags": {"nloc": "other"}})
    assert "is not ours" in scene.fails(lab, clone(lab, image))


@pytest.fixture
def second(lab: Lab, tmp_path: Path) -> Iterator[Second]:
    with Second(lab, tmp_path) as running:
        yield running


BRIDGES = pytest.mark.parametrize("bridges", ["", "node1"], ids=["frontend", "node1"])


def first_is_at_rest(lab: Lab, image: Image) -> bool:
    volumes = [each["name"] for each in lab.storpool("VolumesList")]
    snapshots = [each for each in lab.storpool("SnapshotsList") if not each["name"].startswith("*")]
    return (volumes, snapshots, lab.storpool("AttachmentsList")) == ([f"one-img-{image.id}"], [], [])


@BRIDGES
def test_copy_to_another_cluster(lab: Lab, second: Second, bridges: str) -> None:
    scene.use(lab, bridges)
    image = lab.give_image(content=DISK, size_mib=8)
    copy = copied(lab, image, second.datastore.id)
    assert copy.source == f"one-ds-{second.datastore.id}/one-img-{copy.id}"
    assert second.read(f"one-img-{copy.id}") == DISK + bytes((8 << 20) - len(DISK))
    (volume,) = second.ask(f"Volume/one-img-{copy.id}")
    tags = {key: value for key, value in volume["tags"].items() if value}  # type: ignore[attr-defined]
    assert tags == {"virt": "one", "nloc": "one"}
    assert second.ask("AttachmentsList") == [] and first_is_at_rest(lab, image)


def test_copy_made_again_is_the_same(lab: Lab, second: Second) -> None:
    command = clone(lab, lab.give_image(content=DISK, size_mib=8), second.datastore.id)
    first = lab.run(command)
    again = lab.run(command)
    assert scene.answer(again) == scene.answer(first)
    assert [call.kind for call in again.calls if call.kind == "ssh"] == []


def test_gateways_are_those_of_the_datastores(lab: Lab, second: Second) -> None:
    scene.use(lab, "node1", SP_CLONE_GW="node2")
    second.datastore.attributes["BRIDGE_LIST"] = "node1"
    second.datastore.attributes["SP_CLONE_GW"] = "node2"
    result = lab.run(clone(lab, lab.give_image(content=DISK, size_mib=8), second.datastore.id))
    scene.answer(result)
    assert {call.what.split()[0] for call in result.calls if call.kind == "ssh"} == {"node2"}


@pytest.mark.parametrize("dead", ["node1", "node2"])
def test_dead_gateway_leaves_nothing(lab: Lab, second: Second, dead: str) -> None:
    """D-13: the bash addon ignored that dd had failed, and left an image of zeros."""
    scene.use(lab, "node1")
    image = lab.give_image(content=DISK, size_mib=8)
    lab.hosts.nodes[dead].power_off()
    assert dead in scene.fails(lab, clone(lab, image, second.datastore.id))
    assert second.ask("VolumesList") == [] and first_is_at_rest(lab, image)


def test_copy_that_differs_from_what_was_read_is_an_error(
    tmp_path: Path,
) -> None:
    processes = Processes()
    shell = Hosts(processes, "here").here
    (tmp_path / "volume").write_bytes(DISK)
    digest = hashlib.sha256(DISK[:-1]).hexdigest()
    copy = Target(shell, str(tmp_path / "volume"))
    clones._compare(copy, len(DISK) - 1, digest, "copying it")
    with pytest.raises(StateError, match="copying it failed: what arrived differs from the original"):
        clones._compare(copy, len(DISK), digest, "copying it")
    processes.close()
