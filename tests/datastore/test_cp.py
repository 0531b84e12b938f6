"""cp: whatever the source, the volume holds the disk; whatever fails, nothing is left."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from storpool_addon.lab.conductor import Call
from storpool_addon.lab.lab import Lab
from tests import programs
from tests.datastore import scene
from tests.datastore.imageserver import ImageServer
from tests.datastore.scene import DISK

MIB = 1 << 20
BRIDGES = pytest.mark.parametrize("bridges", ["", "node1"], ids=["frontend", "node1"])


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer(DISK) as running:
        yield running


def kinds(calls: list[Call]) -> list[str]:
    return [f"{call.kind} {call.what.split()[0]}" for call in calls]


@BRIDGES
def test_raw_file(lab: Lab, bridges: str) -> None:
    scene.use(lab, bridges)
    image = lab.do(lab.images.create(lab.oned.datastores[101], path=scene.put(lab, DISK)))
    assert (image.source, image.format) == (f"one-ds-101/one-img-{image.id}", "raw")
    scene.is_whole(lab, image, DISK, 6)


def test_raw_file_takes_six_calls(lab: Lab) -> None:
    result = lab.run(scene.cp(lab, scene.prepare(lab, scene.put(lab, DISK))))
    assert kinds(result.calls) == [
        "api Volume",
        "api VolumeCreate",
        "api Volume",
        "api VolumesReassignWait",
        "api VolumesReassignWait",
        "api VolumeUpdate",
    ]


@BRIDGES
@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vhdx", "vdi"])
def test_other_formats_are_converted(lab: Lab, tmp_path: Path, name: str, bridges: str) -> None:
    scene.use(lab, bridges)
    path = scene.put(lab, scene.convert(tmp_path, name))
    image = lab.do(lab.images.create(lab.oned.datastores[101], path=path))
    scene.is_whole(lab, image, DISK, 6)
    staged = "a copy was staged"
    assert list(Path(lab.hosts.nodes["node1"].path("/var/tmp")).iterdir()) == [], staged


@pytest.mark.parametrize(
    ("name", "pack", "bridges"),
    [
        ("raw", gzip.compress, ""),
        ("raw", bz2.compress, "node1"),
        ("raw", lzma.compress, ""),
        ("qcow2", gzip.compress, "node1"),
        ("qcow2", lzma.compress, ""),
    ],
)
def test_compressed_images_are_unpacked_on_the_way(
    lab: Lab, tmp_path: Path, name: str, pack: Callable[[bytes], bytes], bridges: str
) -> None:
    scene.use(lab, bridges)
    inside = DISK if name == "raw" else scene.convert(tmp_path, name)
    image = lab.do(lab.images.create(lab.oned.datastores[101], path=scene.put(lab, pack(inside))))
    scene.is_whole(lab, image, DISK, 6)


def test_compressed_image_may_be_kept_as_it_is(lab: Lab) -> None:
    packed = gzip.compress(DISK)
    image = scene.prepare(lab, scene.put(lab, packed), NO_DECOMPRESS="yes")
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, packed, 8)


@BRIDGES
@pytest.mark.parametrize("name", ["raw", "qcow2"])
def test_image_from_a_web_server(
    lab: Lab, tmp_path: Path, server: ImageServer, name: str, bridges: str
) -> None:
    scene.use(lab, bridges)
    server.content = DISK if name == "raw" else scene.convert(tmp_path, name)
    server.breaks, server.break_after = 2, 300_000
    image = lab.do(lab.images.create(lab.oned.datastores[101], path=server.url))
    scene.is_whole(lab, image, DISK, 6)


def test_stream_of_unknown_length_gets_the_room_that_it_needs(lab: Lab, server: ImageServer) -> None:
    server.chunked = True
    image = scene.prepare(lab, server.url, size_mib=0)
    assert scene.answer(lab.run(scene.cp(lab, image))) == f"one-ds-101/one-img-{image.id} raw\n"
    scene.is_whole(lab, image, DISK, 6)


@BRIDGES
def test_compressed_image_larger_than_was_said_gets_the_room_that_it_needs(lab: Lab, bridges: str) -> None:
    scene.use(lab, bridges)
    image = scene.prepare(lab, scene.put(lab, gzip.compress(DISK)), size_mib=1)
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DISK, 6)


def test_image_smaller_than_its_size_leaves_zeros(lab: Lab) -> None:
    image = scene.prepare(lab, scene.put(lab, DISK), size_mib=20)
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DISK, 20)


@BRIDGES
def test_image_from_another_host_by_ssh(lab: Lab, bridges: str) -> None:
    scene.use(lab, bridges)
    lab.hosts.nodes["node2"].write("/var/tmp/an image $(id)", DISK)
    path = "ssh://node2:/var/tmp/an image $(id)"
    image = lab.do(lab.images.create(lab.oned.datastores[101], path=path))
    scene.is_whole(lab, image, DISK, 6)


def test_image_through_the_downloader_of_opennebula(lab: Lab) -> None:
    """It is OpenNebula's own script; this one shows what it is given, and prints an image."""
    lab.hosts.frontend.write(
        "/var/lib/one/remotes/datastore/downloader.sh",
        '#!/bin/bash\nprintf "%s\\n" "$@" >/var/lib/one/args\n'
        'base64 -d <<<"$DRV_ACTION" >/var/lib/one/document\n'
        "cat /var/tmp/object\n",
        0o755,
    )
    scene.put(lab, gzip.compress(DISK), "/var/tmp/object")
    image = scene.prepare(lab, "s3://bucket/$(reboot)'")
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DISK, 8)
    frontend = lab.hosts.frontend
    with open(frontend.path("/var/lib/one/args")) as file:
        assert file.read() == "--nodecomp\ns3://bucket/$(reboot)'\n-\n"
    with open(frontend.path("/var/lib/one/document")) as file:
        assert "MARKETPLACE" in file.read()


@pytest.mark.parametrize("name", ["raw", "qcow2"])
@pytest.mark.parametrize("kind", ["md5", "sha1"])
def test_right_digest_is_accepted(lab: Lab, tmp_path: Path, name: str, kind: str) -> None:
    """The digest is of what the server keeps, so of the compressed file."""
    content = gzip.compress(DISK if name == "raw" else scene.convert(tmp_path, name))
    digest = hashlib.new(kind, content).hexdigest().upper()
    image = scene.prepare(lab, scene.put(lab, content), **{kind.upper(): digest})
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DISK, 8)


@pytest.mark.parametrize(
    ("name", "key", "bridges"),
    [
        ("raw", "MD5", ""),
        ("raw", "SHA1", "node1"),
        ("qcow2", "FROM_APP_MD5", ""),
        ("qcow2", "MD5", "node1"),
        ("gz", "SHA1", ""),
    ],
)
def test_wrong_digest_leaves_nothing(lab: Lab, tmp_path: Path, name: str, key: str, bridges: str) -> None:
    scene.use(lab, bridges)
    content = DISK if name == "raw" else scene.convert(tmp_path, "qcow2")
    if name == "gz":
        content = gzip.compress(content)
    wrong = "0" * (40 if key == "SHA1" else 32)
    line = scene.refused(lab, scene.put(lab, content), **{key: wrong})
    assert "and not 000" in line and "/var/tmp/image" in line


@pytest.mark.parametrize(
    ("path", "attributes", "error"),
    [
        ("/var/tmp/none", {}, "file /var/tmp/none cannot be read: No such file or directory"),
        ("/var/lib/one/.one/one_auth", {}, "file /var/lib/one/.one/one_auth may not be imported from there"),
        ("/etc/passwd", {}, "may not be imported from there; copy it to /var/tmp"),
        ("/var/tmp/../../etc/passwd", {}, "may not be imported from there"),
        ("/var/tmp", {}, "is not a regular file"),
        ("ssh://node2:/var/tmp/none", {}, "reading /var/tmp/none on node2 failed"),
        ("ssh://nowhere:/var/tmp/none", {}, "nowhere"),
        ("s3://bucket/key", {}, "downloading s3://bucket/key failed"),
    ],
)
def test_source_that_is_not_there(lab: Lab, path: str, attributes: dict[str, str], error: str) -> None:
    assert error in scene.refused(lab, path, **attributes)


@pytest.mark.parametrize("path", ["-rf", "images/a", "", "gopher://h/x", "SPSNAPSHOT:"])
def test_path_without_a_meaning_is_a_wrong_argument(lab: Lab, path: str) -> None:
    result = lab.run(scene.cp(lab, scene.prepare(lab, path or " ")))
    assert (result.exit_code, result.stdout, result.calls[1:]) == (2, "", [])
    assert len(result.stderr.splitlines()) == 1 and scene.nothing_is_left(lab)


@pytest.mark.parametrize("path", ["/var/tmp/a \"b\" 'c' $(touch x) ;\\n", "/var/tmp/-rf", "/var/tmp/ü\tx"])
@pytest.mark.parametrize(("name", "bridges"), [("raw", "node1"), ("qcow2", ""), ("qcow2", "node1")])
def test_hostile_names_are_only_names(lab: Lab, tmp_path: Path, path: str, name: str, bridges: str) -> None:
    scene.use(lab, bridges)
    image = scene.prepare(lab, scene.put(lab, DISK if name == "raw" else scene.convert(tmp_path, name), path))
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DISK, 8)


@BRIDGES
def test_image_that_reads_other_files_is_refused(lab: Lab, bridges: str) -> None:
    scene.use(lab, bridges)
    path = lab.hosts.frontend.path("/var/tmp")
    backing = ["-u", "-b", "/etc/shadow", "-F", "raw"]
    programs.run("qemu-img", "create", "-f", "qcow2", *backing, f"{path}/image", "1M")
    assert "the image has a backing file" in scene.refused(lab, "/var/tmp/image")


@BRIDGES
def test_damaged_image_leaves_nothing(lab: Lab, tmp_path: Path, bridges: str) -> None:
    scene.use(lab, bridges)
    content = scene.convert(tmp_path, "qcow2")
    path = scene.put(lab, content[:24] + b"\xff" * 8 + content[32:])
    assert "importing image" in scene.refused(lab, path)
    path = scene.put(lab, gzip.compress(DISK)[:-5000])
    assert "ends too early" in scene.refused(lab, path)


@BRIDGES
def test_full_staging_directory_leaves_nothing(lab: Lab, tmp_path: Path, bridges: str) -> None:
    scene.use(lab, bridges, STAGING_DIR="/proc")
    path = scene.put(lab, gzip.compress(scene.convert(tmp_path, "qcow2")))
    assert "making a directory in /proc" in scene.refused(lab, path)


def test_file_that_others_can_change_is_converted_from_a_copy(lab: Lab, tmp_path: Path) -> None:
    """Its owner could make it lean on another file after it was looked at."""
    path = scene.put(lab, scene.convert(tmp_path, "qcow2"), mode=0o666)
    image = scene.prepare(lab, path)
    result = lab.run(scene.cp(lab, image))
    scene.answer(result)
    scene.is_whole(lab, image, DISK, 8)
    assert [call.what for call in result.calls if "stdin" in call.what] == []


def test_finished_import_is_not_done_again(lab: Lab) -> None:
    image = scene.prepare(lab, scene.put(lab, DISK))
    first = lab.run(scene.cp(lab, image))
    os.unlink(lab.hosts.frontend.path("/var/tmp/image"))
    second = lab.run(scene.cp(lab, image))
    assert scene.answer(second) == scene.answer(first)
    assert kinds(second.calls) == ["api Volume"]


def leave_unfinished(lab: Lab, name: str, **tags: str) -> None:
    wanted = {"virt": "one", "nloc": "one", "qc": "", "unfinished": "node1", **tags}
    body = {"name": name, "size": 99 * MIB, "template": "one-ds-101", "tags": wanted}
    lab.storpool("VolumeCreate", body)
    lab.write_volume(name, b"half an image")


@BRIDGES
def test_import_that_was_killed_begins_anew(lab: Lab, bridges: str) -> None:
    scene.use(lab, bridges)
    image = scene.prepare(lab, scene.put(lab, bytes(1000) + b"x"))
    leave_unfinished(lab, f"one-img-{image.id}")
    lab.storpool("VolumesReassignWait", {"reassign": [{"volume": f"one-img-{image.id}", "rw": [12]}]})
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, bytes(1000) + b"x", 8)


def test_import_that_still_runs_is_left_alone(lab: Lab) -> None:
    image = scene.prepare(lab, scene.put(lab, DISK))
    name = f"one-img-{image.id}"
    leave_unfinished(lab, name)
    lab.storpool("VolumesReassignWait", {"reassign": [{"volume": name, "rw": [11]}]})
    lab.simulator.mark_open(11, name)
    line = scene.fails(lab, scene.cp(lab, image))
    lab.simulator.mark_open(11, name, False)
    assert line == f"volume {name} is still being written on host node1; try again later"
    assert lab.read_volume(name, 13) == b"half an image"


def test_volume_of_another_instance_is_left_alone(lab: Lab) -> None:
    image = scene.prepare(lab, scene.put(lab, DISK))
    leave_unfinished(lab, f"one-img-{image.id}", nloc="other")
    assert "is not ours" in scene.fails(lab, scene.cp(lab, image))
    assert lab.read_volume(f"one-img-{image.id}", 13) == b"half an image"


def test_bridge_is_chosen_by_image_and_dead_hosts_are_left_out(lab: Lab) -> None:
    scene.use(lab, "node1 node2")
    path = scene.put(lab, DISK)
    for number, state in enumerate((2, 2, 3, 5, 8)):
        lab.oned.host("node1").state = state
        image = scene.prepare(lab, path)
        result = lab.run(scene.cp(lab, image))
        scene.answer(result)
        expected = "node2" if state != 2 or image.id % 2 else "node1"
        assert {call.what.split()[0] for call in result.calls if call.kind == "ssh"} == {expected}, number
        assert sum(call.kind == "rpc" for call in result.calls) == 1


def test_no_bridge_is_on(lab: Lab) -> None:
    scene.use(lab, "node1 node2")
    for name in ("node1", "node2"):
        lab.oned.host(name).state = 8
    assert "no host of BRIDGE_LIST (node1 node2) is on" in scene.refused(lab, scene.put(lab, DISK))


@pytest.mark.parametrize("name", ["raw", "qcow2"])
def test_bridge_that_is_dead_leaves_nothing(lab: Lab, tmp_path: Path, name: str) -> None:
    scene.use(lab, "node1")
    lab.hosts.nodes["node1"].power_off()
    path = scene.put(lab, DISK if name == "raw" else scene.convert(tmp_path, name))
    assert "node1" in scene.refused(lab, path)


def test_argument_and_document_must_agree(lab: Lab) -> None:
    command = scene.cp(lab, scene.prepare(lab, scene.put(lab, DISK)))
    result = lab.run(command._replace(args=("99999",)))
    assert result.exit_code == 2 and "is about image" in result.stderr and scene.nothing_is_left(lab)


def test_speed_limit_is_kept(lab: Lab, server: ImageServer) -> None:
    scene.use(lab, "", LIMIT_TRANSFER_BW="8M")
    result = lab.run(scene.cp(lab, scene.prepare(lab, server.url)))
    scene.answer(result)
    assert result.seconds > len(DISK) / (8 << 20)


def test_qos_class_of_the_image_is_in_the_tags(lab: Lab) -> None:
    image = scene.prepare(lab, scene.put(lab, DISK), SP_QOSCLASS="gold")
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DISK, 8, qc="gold")
