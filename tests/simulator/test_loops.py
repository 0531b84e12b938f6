"""Real block devices: links, rights, sizes, use, restart."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.simulator import Simulator
from storpool_addon.simulator.loops import bound
from tests import programs
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control"), reason="loop devices need root"
)


def start(tmp_path: Path) -> Simulator:
    return Simulator(
        tmp_path / "s", dev_dir=tmp_path / "dev", devices="loop", clients={11: "node1", 12: "node2"}
    )


@pytest.fixture
def loop_sim(tmp_path: Path) -> Iterator[Simulator]:
    with start(tmp_path) as simulator:
        yield simulator
    assert bound(simulator.cluster.data.directory) == {}


@pytest.fixture
def loop_api(loop_sim: Simulator) -> PlainApi:
    api = PlainApi(loop_sim.endpoint)
    api.create("v")
    return api


def device(tmp_path: Path, name: str = "v", node: str = "node1") -> Path:
    return tmp_path / "dev" / node / "storpool" / name


def size_of(path: Path) -> int:
    with open(path, "rb") as opened:
        return opened.seek(0, os.SEEK_END)


def test_attach_gives_a_block_device_of_the_size(tmp_path: Path, loop_api: PlainApi) -> None:
    loop_api.reassign({"volume": "v", "rw": [11]})
    mode = device(tmp_path).stat().st_mode
    assert stat.S_ISBLK(mode)
    assert stat.S_IMODE(mode) == 0o660
    assert size_of(device(tmp_path)) == MIB
    by_id = tmp_path / "dev/node1/storpool-byid" / loop_api.volume("v")["globalId"]
    assert by_id.resolve() == device(tmp_path).resolve()


def test_bytes_go_to_the_volume(loop_sim: Simulator, tmp_path: Path, loop_api: PlainApi) -> None:
    loop_api.reassign({"volume": "v", "rw": [11]})
    device(tmp_path).write_bytes(b"x" * 4096)
    loop_api.reassign({"volume": "v", "rw": [12], "detach": "all"})
    assert not device(tmp_path).exists()
    assert device(tmp_path, node="node2").read_bytes()[:4096] == b"x" * 4096


def test_two_clients_have_a_device_each(tmp_path: Path, loop_api: PlainApi) -> None:
    loop_api.reassign({"volume": "v", "rw": [11, 12]})
    assert device(tmp_path).resolve() != device(tmp_path, node="node2").resolve()
    device(tmp_path).write_bytes(b"x" * 4096)
    assert device(tmp_path, node="node2").read_bytes()[:4096] == b"x" * 4096


def test_snapshot_and_read_only_volume_cannot_be_written(tmp_path: Path, loop_api: PlainApi) -> None:
    loop_api.post("VolumeSnapshot/v", {"name": "s"})
    loop_api.reassign({"snapshot": "s", "ro": [11]}, {"volume": "v", "ro": [11]})
    for name in ("s", "v"):
        with pytest.raises(PermissionError):
            device(tmp_path, name).write_bytes(b"x")
    loop_api.reassign({"volume": "v", "rw": [11]})
    device(tmp_path).write_bytes(b"x")


def test_attached_device_grows(tmp_path: Path, loop_api: PlainApi) -> None:
    loop_api.reassign({"volume": "v", "rw": [11]})
    loop_api.post("VolumeUpdate/v", {"size": 3 * MIB})
    assert size_of(device(tmp_path)) == 3 * MIB


def test_open_device_is_seen_and_cut_off_by_force(tmp_path: Path, loop_api: PlainApi) -> None:
    loop_api.reassign({"volume": "v", "rw": [11]})
    with open(device(tmp_path), "rb") as opened:
        user = subprocess.Popen(["sleep", "60"], stdin=opened)
    with user:
        try:
            with pytest.raises(Failure) as caught:
                loop_api.reassign({"volume": "v", "detach": "all"})
            assert (caught.value.name, caught.value.descr) == ("busy", "'v' is open at client 11")
            descriptor = os.open(f"/proc/{user.pid}/fd/0", os.O_RDWR)
            loop_api.reassign({"volume": "v", "detach": "all", "force": True})
            with pytest.raises(OSError):
                os.pwrite(descriptor, b"late" * 1024, 0)
                os.fsync(descriptor)
            os.close(descriptor)
        finally:
            user.kill()
    loop_api.reassign({"volume": "v", "rw": [12]})
    assert device(tmp_path, node="node2").read_bytes() == bytes(MIB)


def test_mounted_device_is_open(tmp_path: Path, loop_api: PlainApi) -> None:
    loop_api.create("big", 8 * MIB)
    loop_api.reassign({"volume": "big", "rw": [11]})
    node, point = device(tmp_path, "big"), tmp_path / "mnt"
    point.mkdir()
    programs.run("mkfs.ext4", "-q", str(node))
    if subprocess.run(["mount", node.resolve(), point], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(Failure, match="open at client 11"):
            loop_api.reassign({"volume": "big", "detach": "all"})
    finally:
        subprocess.run(["umount", point], check=True)
    loop_api.reassign({"volume": "big", "detach": "all"})


def test_device_of_a_dead_client_goes_when_it_is_back(
    loop_sim: Simulator, tmp_path: Path, loop_api: PlainApi
) -> None:
    loop_api.reassign({"volume": "v", "rw": [11]})
    loop_sim.set_client(11, "down")
    loop_api.reassign({"volume": "v", "detach": "all"})
    loop_api.post("VolumeDelete/v")
    loop_api.create("w")
    loop_api.reassign({"volume": "w", "rw": [11]}, timeout_s=0)
    loop_api.post("VolumeUpdate/w", {"size": 2 * MIB})
    assert len(bound(loop_sim.cluster.data.directory)) == 1
    loop_sim.set_client(11, "running")
    assert os.listdir(device(tmp_path).parent) == ["w"]
    assert size_of(device(tmp_path, "w")) == 2 * MIB
    assert len(bound(loop_sim.cluster.data.directory)) == 1


def test_stop_releases_and_start_brings_back(tmp_path: Path) -> None:
    with start(tmp_path) as first:
        api = PlainApi(first.endpoint)
        api.create("v")
        api.reassign({"volume": "v", "rw": [11]})
        device(tmp_path).write_bytes(b"kept")
    assert not device(tmp_path).is_symlink()
    assert bound(first.cluster.data.directory) == {}
    with start(tmp_path) as second:
        assert device(tmp_path).read_bytes()[:4] == b"kept"
        assert len(bound(second.cluster.data.directory)) == 1
