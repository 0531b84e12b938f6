"""The data plane: what a reader of a device sees after snapshots, clones, reverts and resizes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storpool_addon.simulator import Simulator
from storpool_addon.simulator.datafiles import DataFiles, copy_sparse
from tests.simulator.plainapi import PlainApi

MIB = 1 << 20


@pytest.fixture(autouse=True)
def volume(api: PlainApi) -> None:
    api.create("v")


class Host:
    """Reads and writes volumes as client 11."""

    def __init__(self, sim: Simulator, api: PlainApi) -> None:
        self.api = api
        self.directory = Path(sim.state_dir, "dev/node1/storpool")

    def write(self, name: str, data: bytes, *, detach: bool = True) -> None:
        self.api.reassign({"volume": name, "rw": [11]})
        with open(self.directory / name, "r+b") as device:
            device.write(data)
        if detach:
            self.api.reassign({"volume": name, "detach": "all"})

    def read(self, name: str, kind: str = "volume") -> bytes:
        self.api.reassign({kind: name, "ro": [11]})
        data = (self.directory / name).read_bytes()
        self.api.reassign({kind: name, "detach": "all"})
        return data


@pytest.fixture
def host(sim: Simulator, api: PlainApi) -> Host:
    return Host(sim, api)


def padded(data: bytes, size: int = MIB) -> bytes:
    return data + bytes(size - len(data))


def files(sim: Simulator) -> list[str]:
    return os.listdir(sim.cluster.data.directory)


def test_new_volume_is_zeros_of_its_size(host: Host) -> None:
    assert host.read("v") == bytes(MIB)


@pytest.mark.parametrize("attached", [False, True])
def test_snapshot_keeps_what_was_there(host: Host, api: PlainApi, attached: bool) -> None:
    host.write("v", b"before", detach=not attached)
    api.post("VolumeSnapshot/v", {"name": "s"})
    host.write("v", b"after!")
    assert host.read("s", "snapshot") == padded(b"before")
    assert host.read("v") == padded(b"after!")


def test_clones_are_independent(host: Host, api: PlainApi) -> None:
    host.write("v", b"common")
    api.post("VolumeSnapshot/v", {"name": "s"})
    for name in ("a", "b"):
        api.post("VolumeCreate", {"name": name, "parent": "s"})
    api.post("VolumeCreate", {"name": "c", "baseOn": "v"})
    host.write("a", b"AAAAAA")
    assert host.read("a")[:6] == b"AAAAAA"
    assert {host.read(name)[:6] for name in ("v", "b", "c")} == {b"common"}


def test_bigger_clone_has_zeros_behind(host: Host, api: PlainApi) -> None:
    host.write("v", b"x" * MIB)
    api.post("VolumeSnapshot/v", {"name": "s"})
    api.create("big", 2 * MIB, parent="s")
    assert host.read("big") == b"x" * MIB + bytes(MIB)


def test_revert(host: Host, api: PlainApi) -> None:
    host.write("v", b"before")
    api.post("VolumeSnapshot/v", {"name": "s"})
    host.write("v", b"after!")
    api.post("VolumeUpdate/v", {"size": 2 * MIB})
    api.post("VolumeRevert/v", {"toSnapshot": "s"})
    assert host.read("v") == padded(b"before", 2 * MIB)
    host.write("v", b"again!")
    api.post("VolumeRevert/v", {"toSnapshot": "s", "revertSize": True})
    assert host.read("v") == host.read("s", "snapshot") == padded(b"before")


def test_revert_of_a_shrunk_volume_is_cut(host: Host, api: PlainApi) -> None:
    host.write("v", b"x" * MIB)
    api.post("VolumeSnapshot/v", {"name": "s"})
    api.post("VolumeUpdate/v", {"size": 512, "shrinkOk": True})
    api.post("VolumeRevert/v", {"toSnapshot": "s"})
    assert host.read("v") == b"x" * 512
    assert host.read("s", "snapshot") == b"x" * MIB


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_cut_off_never_comes_back(host: Host, api: PlainApi, shared: bool) -> None:
    host.write("v", b"x" * MIB)
    if shared:
        api.post("VolumeSnapshot/v", {"name": "s"})
    api.post("VolumeUpdate/v", {"size": 512, "shrinkOk": True})
    api.post("VolumeUpdate/v", {"size": MIB})
    assert host.read("v") == padded(b"x" * 512)


def test_attached_volume_grows_under_its_user(host: Host, api: PlainApi) -> None:
    host.write("v", b"data", detach=False)
    with open(host.directory / "v", "rb") as device:
        api.post("VolumeUpdate/v", {"size": 2 * MIB})
        assert device.read() == padded(b"data", 2 * MIB)


def test_delayed_delete_copies_nothing(sim: Simulator, host: Host, api: PlainApi) -> None:
    host.write("v", b"data")
    (before,) = files(sim)
    api.post("VolumeSnapshot/v", {"name": "s"})
    api.post("VolumeDelete/v")
    assert files(sim) == [before]
    assert host.read("s", "snapshot") == padded(b"data")


def test_data_goes_with_its_last_user(sim: Simulator, host: Host, api: PlainApi) -> None:
    host.write("v", b"data")
    api.post("VolumeSnapshot/v", {"name": "s", "bind": True})
    api.post("VolumeDelete/v")
    assert len(files(sim)) == 1
    sim.advance(0)
    sim.advance(2)
    assert files(sim) == []


def test_failed_bulk_attach_leaves_no_file(sim: Simulator, api: PlainApi) -> None:
    with pytest.raises(Exception, match="invalidParam"):
        api.reassign({"volume": "v", "rw": [11]}, {"volume": "v", "rw": [99]})
    assert files(sim) == []


def test_rename_moves_the_link_and_not_the_data(host: Host, api: PlainApi) -> None:
    host.write("v", b"data", detach=False)
    api.post("VolumeUpdate/v", {"rename": "w"})
    assert os.listdir(host.directory) == ["w"]
    assert (host.directory / "w").read_bytes() == padded(b"data")


def test_sparse_copy_keeps_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with open(source, "wb") as writer:
        writer.seek(8 * MIB)
        writer.write(b"middle")
        writer.truncate(64 * MIB)
    copy_sparse(str(source), str(target), 64 * MIB)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < MIB


def test_copy_is_cut_and_padded(tmp_path: Path) -> None:
    data = DataFiles(str(tmp_path / "data"))
    first = data.create(4)
    Path(data.path(first)).write_bytes(b"abcd")
    assert Path(data.path(data.copy(first, 2))).read_bytes() == b"ab"
    assert Path(data.path(data.copy(first, 6))).read_bytes() == b"abcd\0\0"


def test_ids_are_not_used_twice_after_a_restart(tmp_path: Path) -> None:
    made = {DataFiles(str(tmp_path)).create(1) for _ in range(40)}
    assert len(made) == 40
