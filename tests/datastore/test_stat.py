"""stat: the size of the disk inside, from few bytes, and a plain word when it cannot be told."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command, datastore_command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.objects import action_data, stat_request
from tests.datastore import scene
from tests.datastore.imageserver import ImageServer
from tests.datastore.scene import DISK


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer() as running:
        yield running


def stat(lab: Lab, path: str) -> Command:
    datastore = lab.oned.datastores[101]
    document = action_data(datastore, stat_request(path, lab.oned.version))
    return datastore_command("storpool", "stat", 12345, document)


PACKED = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vdi", "vhdx"])
@pytest.mark.parametrize("pack", ["", "gz"])
def test_size_inside_a_format(lab: Lab, tmp_path: Path, name: str, pack: str) -> None:
    path = scene.put(lab, PACKED[pack](scene.convert(tmp_path, name)))
    assert scene.answer(lab.run(stat(lab, path))) == "6\n"


@pytest.mark.parametrize("where", ["file", "web", "web without ranges", "ssh"])
@pytest.mark.parametrize("pack", PACKED)
def test_size_from_anywhere(lab: Lab, server: ImageServer, pack: str, where: str) -> None:
    server.content, server.ranges = PACKED[pack](DISK), where == "web"
    path = {"file": "/var/tmp/image", "ssh": "ssh://node1:/var/tmp/image"}.get(where, server.url)
    for host in (lab.hosts.frontend, lab.hosts.nodes["node1"]):
        host.write("/var/tmp/image", server.content)
    assert scene.answer(lab.run(stat(lab, path))) == "6\n"


def test_size_of_a_large_image_is_told_from_its_head(lab: Lab, server: ImageServer) -> None:
    server.content = bytes(50 << 20)
    assert scene.answer(lab.run(stat(lab, server.url))) == "50\n"
    assert len(server.requests) == 1 and server.requests[0][1]["Range"] == "bytes=0-65535"


def test_stream_without_length_is_counted(lab: Lab, server: ImageServer) -> None:
    server.content, server.chunked, server.ranges = DISK, True, False
    assert scene.answer(lab.run(stat(lab, server.url))) == "6\n"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/var/tmp/none", "No such file or directory"),
        ("/var/tmp/empty", "is empty; check the image's PATH"),
        ("/etc/passwd", "may not be imported from there"),
        ("ssh://node1:/var/tmp/none", "looking at /var/tmp/none on node1"),
    ],
)
def test_what_has_no_size_says_why(lab: Lab, path: str, error: str) -> None:
    scene.put(lab, b"", "/var/tmp/empty")
    assert error in scene.fails(lab, stat(lab, path))


def test_server_that_says_no(lab: Lab, server: ImageServer) -> None:
    server.statuses = [404]
    assert "answered 404" in scene.fails(lab, stat(lab, server.url))


@pytest.mark.parametrize("stdin", [b"", b"garbage", b"<DS_DRIVER_ACTION_DATA/>", b"<VM/>", b"PFZNLz4="])
@pytest.mark.parametrize("action", ["stat", "cp", "mkfs", "clone", "rm", "monitor"])
def test_bad_standard_input_is_one_plain_line(lab: Lab, action: str, stdin: bytes) -> None:
    result = lab.run(Command(f"datastore/storpool/{action}", ("7",), stdin))
    assert (result.exit_code, result.stdout, result.calls) == (2, "", [])
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("args", [(), ("x",), ("1", "2")])
@pytest.mark.parametrize("action", ["stat", "cp", "mkfs", "clone", "rm", "monitor"])
def test_bad_arguments_are_one_plain_line(lab: Lab, action: str, args: tuple[str, ...]) -> None:
    result = lab.run(Command(f"datastore/storpool/{action}", args, stat(lab, "/x").stdin))
    assert (result.exit_code, result.stdout, result.calls) == (2, "", [])
    assert len(result.stderr.splitlines()) == 1
