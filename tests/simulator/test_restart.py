"""The process: its options, and what is left after it is killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.simulator import Endpoint, Simulator
from storpool_addon.simulator.loops import bound
from storpool_addon.simulator.simulator import TOKEN
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20
COMMAND = [sys.executable, "-m", "storpool_addon.simulator"]
LISTS = ("VolumesList", "SnapshotsList", "AttachmentsList", "VolumeTemplatesList", "KV", "ServicesList")
CLIENTS = ("--client", "11=node1", "--client", "12=node2")


class Process:
    """A simulator as a process."""

    def __init__(self, *options: str) -> None:
        self.popen = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True)
        self.endpoints = [self._listening()]

    def _listening(self) -> Endpoint:
        assert self.popen.stdout
        line = self.popen.stdout.readline()
        assert line.startswith("listening on "), line
        host, _, port = line.split()[-1].rpartition(":")
        return Endpoint(host, int(port), TOKEN)

    def second(self) -> PlainApi:
        return PlainApi(self._listening())

    @property
    def api(self) -> PlainApi:
        return PlainApi(self.endpoints[0])

    def end(self, how: int) -> int:
        self.popen.send_signal(how)
        assert self.popen.stdout
        code = self.popen.wait(10)
        self.popen.stdout.close()
        return code


@contextmanager
def running(*options: str) -> Iterator[Process]:
    process = Process(*options)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.end(signal.SIGKILL)


def test_term_ends_it_cleanly(tmp_path: Path) -> None:
    with running("--state", str(tmp_path), *CLIENTS) as process:
        process.api.create("v")
        process.api.reassign({"volume": "v", "rw": [11]})
        assert (tmp_path / "dev/node1/storpool/v").exists()
        assert process.end(signal.SIGTERM) == 0
    assert not (tmp_path / "dev/node1/storpool/v").is_symlink()


def test_everything_is_there_after_a_kill(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path), "--template", "one-ds-1", *CLIENTS)
    with running(*options) as process:
        api = process.api
        api.create("v", tags={"virt": "one"}, template="one-ds-1")
        api.reassign({"volume": "v", "rw": [11]})
        (tmp_path / "dev/node1/storpool/v").write_bytes(b"data" * (MIB // 4))
        api.post("VolumeSnapshot/v", {"name": "s", "deleteAfter": 3600, "bind": True})
        api.post("VolumeCreate", {"name": "c", "parent": "s"})
        api.post("KV/Create/bucket")
        api.control("POST", "clock", {"advance": 100})
        api.control("POST", "clients", {"id": 12, "status": "down"})
        queries = (
            "VolumesList",
            "SnapshotsList",
            "AttachmentsList",
            "VolumeTemplatesList",
            "KV",
            "ServicesList",
        )
        before, generation = {query: api.get(query) for query in queries}, api.generation
        process.end(signal.SIGKILL)
    with running(*options) as process:
        assert {query: process.api.get(query) for query in queries} == before
        assert (
            process.api.get("VolumesList")
            and generation == json.loads(process.api.raw("GET", "/ctrl/1.0/KV")[1])["generation"]
        )
        assert (tmp_path / "dev/node1/storpool/v").read_bytes() == b"data" * (MIB // 4)
        process.api.reassign({"volume": "c", "rw": [11]})
        assert (tmp_path / "dev/node1/storpool/c").read_bytes() == b"data" * (MIB // 4)


def test_nothing_acknowledged_is_lost_and_nothing_is_half_done(tmp_path: Path) -> None:
    """Kill it while four clients create, attach, snapshot and delete as fast as they can."""
    acknowledged: list[set[str]] = [set() for _ in range(4)]
    uncertain: list[str] = [""] * 4
    with running("--state", str(tmp_path), *CLIENTS) as process:
        threads = [
            threading.Thread(target=_work, args=(process.api, index, acknowledged[index], uncertain))
            for index in range(4)
        ]
        for each in threads:
            each.start()
        threads[0].join(0.7)
        process.end(signal.SIGKILL)
        for each in threads:
            each.join()
    assert sum(map(len, acknowledged)) > 20
    with Simulator(tmp_path) as sim:
        volumes = set(sim.cluster.volumes)
        assert set().union(*acknowledged) - set(uncertain) <= volumes
        assert volumes <= set().union(*acknowledged) | set(uncertain)
        used = {each.data for each in sim.cluster.volumes.values()} | {
            each.data for each in sim.cluster.snapshots.values()
        }
        assert set(os.listdir(tmp_path / "data")) == used - {""}
        links = set(os.listdir(tmp_path / "dev/node1/storpool"))
        assert links == {name for name in volumes if sim.cluster.attached.get(sim.cluster.volumes[name].gid)}


def _work(api: PlainApi, worker: int, acknowledged: set[str], uncertain: list[str]) -> None:
    for step in range(10_000):
        name = f"v{worker}-{step}"
        uncertain[worker] = name
        try:
            api.create(name)
            acknowledged.add(name)
            api.reassign({"volume": name, "rw": [11]})
            if step % 3 == 0:
                api.post(f"VolumeSnapshot/{name}", {"name": f"{name}-s"})
            if step % 2 == 0:
                api.reassign({"volume": name, "detach": "all"})
                api.post(f"VolumeDelete/{name}")
                acknowledged.discard(name)
        except Exception:
            return


def test_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    with Simulator(tmp_path) as sim:
        PlainApi(sim.endpoint).create("v")
    with open(tmp_path / "journal", "ab") as journal:
        journal.write(b'[99,[["Volume",["d.n.zz"')
    with Simulator(tmp_path) as sim:
        assert set(sim.cluster.volumes) == {"v"}
        PlainApi(sim.endpoint).create("w")
    with Simulator(tmp_path) as sim:
        assert set(sim.cluster.volumes) == {"v", "w"}


def test_journal_does_not_grow_for_ever(tmp_path: Path) -> None:
    with Simulator(tmp_path) as sim:
        api = PlainApi(sim.endpoint)
        api.create("v", tags={"keep": "me"})
        for index in range(1100):
            with sim.cluster.change():
                volume = sim.cluster.volumes["v"]
                sim.cluster.put(volume._replace(policy=volume.policy._replace(iops=index)))
    before = (tmp_path / "journal").stat().st_size
    with Simulator(tmp_path) as sim:
        assert (tmp_path / "journal").stat().st_size < before / 20
        assert sim.cluster.volumes["v"].policy.iops == 1099
        PlainApi(sim.endpoint).create("w")
    with Simulator(tmp_path) as sim:
        assert set(sim.cluster.volumes) == {"v", "w"}


def test_failed_change_is_rolled_back(tmp_path: Path) -> None:
    with Simulator(tmp_path) as sim:
        api = PlainApi(sim.endpoint)
        api.create("v")
        with pytest.raises(RuntimeError), sim.cluster.lock, sim.cluster.change():
            sim.cluster.put(sim.cluster.volumes["v"]._replace(name="w"))
            sim.cluster.drop(sim.cluster.volumes["w"])
            raise RuntimeError
        assert api.volume("v")["name"] == "v"
        assert sim.cluster.names == {"v": api.volume("v")["globalId"]}


def test_faults_switches_token_from_options(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"kind": "error", "name": "busy", "query": "VolumesList"}]))
    options = ("--state", str(tmp_path / "s"), "--faults", str(faults), "--switch", "error_status=503")
    with running(*options, "--token", "42") as process:
        api = PlainApi(process.endpoints[0]._replace(token="42"))
        with pytest.raises(Failure, match="busy"):
            api.get("VolumesList")
        with pytest.raises(Failure) as caught:
            api.volume("none")
        assert caught.value.status == 503
        with pytest.raises(Failure, match="forbidden"):
            process.api.get("VolumesList")


def test_second_cluster(tmp_path: Path) -> None:
    with running("--state", str(tmp_path), *CLIENTS, "--second", "127.0.0.1:0") as process:
        second = process.second()
        process.api.create("v")
        remote_id = process.api.post("VolumeBackup", {"volume": "v", "location": "second"})["remoteId"]
        assert second.snapshot(f"~{remote_id}")["backup"] is True


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--listen", "nowhere"), "HOST:PORT"),
        (("--client", "node1"), "ID=NAME"),
        (("--switch", "colour=red"), "colour"),
        (("--faults", "/nonexistent"), "/nonexistent"),
    ],
)
def test_wrong_options(tmp_path: Path, options: tuple[str, ...], word: str) -> None:
    done: Any = subprocess.run(
        [*COMMAND, "--state", str(tmp_path), *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("devices", "word"), [("loop", "need root"), ("tape", "neither file nor loop")])
def test_devices_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str, word: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match=word):
        Simulator(tmp_path / "s", devices=devices)
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_loop_device_in_use_survives_a_kill(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path), "--devices", "loop", *CLIENTS)
    link = tmp_path / "dev/node1/storpool/v"
    with running(*options) as process:
        process.api.create("v")
        process.api.create("gone")
        process.api.reassign({"volume": "v", "rw": [11]}, {"volume": "gone", "rw": [12]})
        before = os.readlink(link)
        process.end(signal.SIGKILL)
    os.unlink(tmp_path / "dev/node2/storpool-byid" / os.listdir(tmp_path / "dev/node2/storpool-byid")[0])
    with open(link, "r+b") as user:
        user.write(b"before")
        with running(*options) as process:
            assert os.readlink(link) == before
            assert len(bound(str(tmp_path / "data"))) == 2
            user.seek(0)
            user.write(b"behind")
            user.flush()
            process.end(signal.SIGTERM)
    assert bound(str(tmp_path / "data")) == {}
