"""export and its DISPOSE_CMD: what a marketplace reads is the image, and afterwards nothing of it is left."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.market import disposal
from storpool_addon.lab.objects import Image
from tests import programs
from tests.datastore import scene
from tests.programs import needs

OURS = {"virt": "one", "nloc": "one"}
CONTENT = b"what is sold" * 1000
VOLUME, NAME = "one-img-7", "one-img-7-export-31"
FILE = f"/var/tmp/{NAME}"
SCRIPT = "datastore/storpool/export.delete"


def image(lab: Lab, bridges: str = "node1") -> Image:
    """An image in a datastore that works through these hosts."""
    scene.use(lab, bridges)
    return lab.give_image(content=CONTENT)


def files(lab: Lab, host: str = "node1") -> list[str]:
    """What is in a host's STAGING_DIR."""
    there = lab.hosts.nodes[host] if host != "frontend" else lab.hosts.frontend
    return sorted(os.listdir(there.path("/var/tmp")))


def snapshots(lab: Lab) -> list[str]:
    """The names of snapshots that are not on their way out."""
    names = [each["name"] for each in lab.storpool("SnapshotsList")]
    return [name for name in names if not name.startswith("*")]


def clean(lab: Lab) -> bool:
    """Whether there is nothing but the image, at rest."""
    volumes = [each["name"] for each in lab.storpool("VolumesList")]
    staged = files(lab) + files(lab, "node2") + files(lab, "frontend")
    return (volumes, snapshots(lab), lab.storpool("AttachmentsList"), staged) == ([VOLUME], [], [], [])


@pytest.mark.parametrize("bridges", ["node1", ""], ids=["by ssh", "on the front-end"])
def test_device_is_what_a_marketplace_reads(lab: Lab, bridges: str) -> None:
    sold = image(lab, bridges)
    app = lab.do(lab.market.create(sold))
    assert (len(app.content), app.content.rstrip(b"\0")) == (4 << 20, CONTENT)
    assert app.md5 == hashlib.md5(app.content).hexdigest()
    assert (app.size_mib, app.format) == (4, "raw")
    assert clean(lab)


def test_snapshot_is_ours_expires_and_is_only_read(lab: Lab) -> None:
    """Also when the answer got lost: a repeat gives the same, and makes no second snapshot."""
    sold = image(lab)
    command = lab.market.export(sold, 31)
    first, again = lab.run(command), lab.run(command)
    assert scene.answer(first) == scene.answer(again)
    assert f"<![CDATA[ssh://node1:/dev/storpool/{NAME}]]>" in first.stdout and first.stdout.count("\n") == 1
    (snapshot,) = lab.storpool("SnapshotsList")
    assert snapshot["name"] == NAME and snapshot["targetDeleteDate"]
    assert {key: word for key, word in snapshot["tags"].items() if word} == OURS
    (attached,) = lab.storpool("AttachmentsList")
    assert (attached["volume"], attached["client"], attached["rights"]) == (NAME, 11, "ro")


def test_image_may_change_while_it_is_taken(lab: Lab) -> None:
    sold = image(lab)
    steps = lab.market.create(sold)
    result = lab.run(next(steps))
    lab.write_volume(VOLUME, b"another")
    dispose = steps.send(result)
    assert dispose.script == SCRIPT and dispose.args == ("node1", f"/dev/storpool/{NAME}", "101")
    assert lab.run(dispose).exit_code == 0
    assert clean(lab)


@needs("qemu-img")
@pytest.mark.parametrize("wanted", ["raw", "qcow2"])
def test_file_of_a_format(lab: Lab, wanted: str, tmp_path: Path) -> None:
    lab.configure(EXPORT_FILE_FORMAT=wanted)
    sold = image(lab)
    steps = lab.market.create(sold)
    command = next(steps)
    first = lab.run(command)
    place = lab.hosts.nodes["node1"].path(FILE)
    assert os.stat(place).st_mode & 0o777 == 0o600 and files(lab) == [NAME]
    assert lab.storpool("AttachmentsList") == []
    assert lab.run(command).stdout == first.stdout, "a repeat gives the same answer"
    (tmp_path / "file").write_bytes(Path(place).read_bytes())
    dispose = steps.send(first)
    programs.run(
        "qemu-img", "convert", "-f", wanted, "-O", "raw", str(tmp_path / "file"), str(tmp_path / "raw")
    )
    assert (tmp_path / "raw").read_bytes() == CONTENT.ljust(4 << 20, b"\0")
    told = first.stdout
    assert hashlib.md5((tmp_path / "file").read_bytes()).hexdigest() in told
    assert f"<FORMAT><![CDATA[{wanted}]]>" in told and "<SIZE><![CDATA[4]]>" in told
    for _ in range(2):
        assert scene.answer(lab.run(dispose)) == ""
    assert clean(lab)


@needs("qemu-img")
def test_failed_export_leaves_nothing(lab: Lab) -> None:
    sold = image(lab)
    for directory, error in (
        ("/var/tmp/nowhere", "correct STAGING_DIR"),
        ("/dev/full", "correct STAGING_DIR"),
        ("/var/tmp/a b", "cannot be for exports"),
        ("/var/tmp/$(id)", "cannot be for exports"),
        ("/var/tmp/../../etc", "cannot be for exports"),
    ):
        lab.configure(EXPORT_FILE_FORMAT="qcow2")
        scene.use(lab, "node1", STAGING_DIR=directory)
        assert error in scene.fails(lab, lab.market.export(sold, 31))
        assert clean(lab)
    scene.use(lab, "node1", STAGING_DIR="/var/tmp")
    lab.configure(EXPORT_FILE_FORMAT="qcow2", EXPORT_QEMU_IMG_ARGS="-o cluster_size=7")
    line = scene.fails(lab, lab.market.export(sold, 31))
    assert f"exporting volume {VOLUME} on host node1 failed" in line and "luster size" in line
    assert clean(lab)


@needs("qemu-img")
def test_full_disk_is_said_and_nothing_is_left(lab: Lab) -> None:
    """The program itself says so, on a file system of its own where one can be had."""
    lab.configure(EXPORT_FILE_FORMAT="raw")
    node = lab.hosts.nodes["node1"]
    node.run("mkdir -p /var/tmp/small && mount -t tmpfs -o size=8k none /var/tmp/small")
    if "tmpfs" not in node.run("stat -fc %T /var/tmp/small").stdout:
        pytest.skip("no file system of a limited size here")
    sold = image(lab)
    scene.use(lab, "node1", STAGING_DIR="/var/tmp/small")
    line = scene.fails(lab, lab.market.export(sold, 31))
    assert "No space left" in line
    assert node.run("ls -A /var/tmp/small").stdout == "" and snapshots(lab) == []


def test_other_hosts_than_those_of_imports(lab: Lab) -> None:
    sold = image(lab, "node1")
    scene.use(lab, "node1", EXPORT_BRIDGE_LIST="node2")
    assert "ssh://node2:" in scene.answer(lab.run(lab.market.export(sold, 31)))
    sold.source = "one-ds-101/one-img-99"
    assert "one-img-99 does not exist" in scene.fails(lab, lab.market.export(sold, 32))
    sold.source = "/etc/passwd"
    assert lab.run(lab.market.export(sold, 33)).exit_code == 2


@needs("qemu-img")
def test_old_files_of_failed_marketplaces_go_with_the_next_export(lab: Lab) -> None:
    lab.configure(EXPORT_FILE_FORMAT="raw")
    sold, node = image(lab), lab.hosts.nodes["node1"]
    stays = ["one-img-7-export-2", "one-img-70-export-1", "one-img-7-export-3/", "image"]
    for name in ("one-img-7-export-1", "one-img-7-export-1.0123456789", *stays):
        node.write(f"/var/tmp/{name}image" if name.endswith("/") else f"/var/tmp/{name}", b"x")
        if name != stays[0]:
            os.utime(node.path(f"/var/tmp/{name}"), (1, 1))
    scene.answer(lab.run(lab.market.export(sold, 31)))
    assert files(lab) == sorted([NAME, *(name.rstrip("/") for name in stays)])


def test_dispose_removes_nothing_else(lab: Lab) -> None:
    image(lab)
    node = lab.hosts.nodes["node1"]
    for name in ("image", "one-img-7-export-31-x", NAME):
        node.write(f"/var/tmp/{name}", b"x")
    node.run(f"ln -s /etc/passwd /var/tmp/{NAME}9; mkdir /var/tmp/{NAME}8")
    lab.storpool(f"VolumeSnapshot/{VOLUME}", {"name": "one-img-7-snap0", "tags": OURS})
    lab.storpool(f"VolumeSnapshot/{VOLUME}", {"name": "one-img-7-export-1", "tags": {"nloc": "two"}})
    before = files(lab)
    for code, host, path, error in (
        (2, "node1", "/var/tmp/image", "is not the name of an export"),
        (2, "node1", "/var/tmp/one-img-7-export-31-x", "is not the name of an export"),
        (2, "node1", f"/etc/{NAME}", "neither a device of StorPool nor in STAGING_DIR"),
        (2, "node1", f"/var/tmp/../../etc/{NAME}", "neither a device"),
        (2, "node1", "/dev/storpool/one-img-7-snap0", "is not the name of an export"),
        (2, "node1", f"/dev/storpool/{VOLUME}", "is not the name of an export"),
        (1, "node1", "/dev/storpool/one-img-7-export-1", "is not ours"),
        (1, "node1", f"/var/tmp/{NAME}8", "is not a file that an export made"),
        (1, "node1", f"/var/tmp/{NAME}9", "is not a file that an export made"),
        (1, "node2", FILE, "exports no images of datastore 101"),
        (1, "-oProxyCommand=id", FILE, "exports no images"),
        (2, "node1", "", "is not the name of an export"),
    ):
        result = lab.run(Command(SCRIPT, (host, path, "101")))
        assert (result.exit_code, result.stdout) == (code, ""), result
        assert error in result.stderr and len(result.stderr.splitlines()) == 1
    assert files(lab) == before
    assert {"one-img-7-snap0", "one-img-7-export-1"} <= {
        each["name"] for each in lab.storpool("SnapshotsList")
    }


def test_what_the_bash_addon_offered_is_disposed_of(lab: Lab) -> None:
    """Its command names no datastore, its snapshot has no tags, and its names end in letters."""
    image(lab)
    name = f"{VOLUME}-export-aB3xYz"
    lab.storpool(f"VolumeSnapshot/{VOLUME}", {"name": name})
    item = {"snapshot": name, "ro": [11]}
    lab.storpool("VolumesReassignWait", {"reassign": [item], "attachTimeout": 10})
    lab.hosts.nodes["node1"].write(f"/var/tmp/{name}", b"x")
    for path in (f"/dev/storpool/{name}", f"/var/tmp/{name}"):
        line = f"/var/lib/one/remotes/datastore/storpool/export.delete node1 {path}"
        for _ in range(2):
            assert scene.answer(lab.run(disposal(line))) == ""
    assert clean(lab)
