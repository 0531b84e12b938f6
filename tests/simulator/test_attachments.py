"""Attachments: rights, moves, open devices, clients that are down, and what the links show."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.plainapi import Failure, PlainApi


@pytest.fixture(autouse=True)
def objects(api: PlainApi) -> None:
    api.create("v")
    api.create("w")
    api.post("VolumeSnapshot/w", {"name": "s"})


def links(sim: Simulator, client: str) -> tuple[set[str], set[str]]:
    root = Path(sim.state_dir, "dev", client)
    return set(os.listdir(root / "storpool")), set(os.listdir(root / "storpool-byid"))


def test_attach_is_there_when_the_call_answers(sim: Simulator, api: PlainApi) -> None:
    api.reassign({"volume": "v", "rw": [11]}, {"snapshot": "s", "ro": ["12"]})
    assert api.attached() == {("v", 11): "rw", ("s", 12): "ro"}
    gid = api.volume("v")["globalId"]
    assert links(sim, "node1") == ({"v"}, {gid})
    assert links(sim, "node2")[0] == {"s"}
    listed = {each["volume"]: each for each in api.get("AttachmentsList")}
    assert (listed["v"]["globalId"], listed["v"]["snapshot"], listed["s"]["snapshot"]) == (gid, False, True)
    api.reassign({"volume": "v", "detach": "all"}, {"snapshot": "s", "detach": [12]})
    assert api.attached() == {}
    assert links(sim, "node1") == links(sim, "node2") == (set(), set())


@pytest.mark.parametrize(
    ("start", "item", "end"),
    [
        ({}, {"rw": [11]}, {11: "rw"}),
        ({11: "rw"}, {"rw": [12]}, {11: "rw", 12: "rw"}),
        ({11: "rw"}, {"rw": [12], "detach": "all"}, {12: "rw"}),
        ({11: "rw"}, {"rw": [11], "detach": "all"}, {11: "rw"}),
        ({11: "rw", 12: "rw"}, {"rw": [12], "detach": "all"}, {12: "rw"}),
        ({11: "rw", 12: "rw"}, {"detach": [11]}, {12: "rw"}),
        ({11: "ro"}, {"rw": [11]}, {11: "rw"}),
        ({11: "rw"}, {"ro": [11]}, {11: "ro"}),
        ({11: "rw"}, {"rw": [11]}, {11: "rw"}),
        ({}, {"detach": "all"}, {}),
        ({}, {"detach": [11]}, {}),
        ({}, {"rw": [11], "ro": [12]}, {11: "rw", 12: "ro"}),
        ({11: "rw"}, {}, {11: "rw"}),
    ],
)
def test_reassign(api: PlainApi, start: dict[int, str], item: dict[str, Any], end: dict[int, str]) -> None:
    for client, rights in start.items():
        api.reassign({"volume": "v", rights: [client]})
    api.reassign({"volume": "v", **item})
    assert api.attached() == {("v", client): rights for client, rights in end.items()}


@pytest.mark.parametrize(
    ("item", "error"),
    [
        ({"volume": "none", "rw": [11]}, "objectDoesNotExist"),
        ({"volume": "s", "rw": [11]}, "objectDoesNotExist"),
        ({"snapshot": "v", "ro": [11]}, "objectDoesNotExist"),
        ({"snapshot": "s", "rw": [11]}, "invalidParam"),
        ({"volume": "v", "rw": [99]}, "invalidParam"),
        ({"volume": "v", "detach": [99]}, "invalidParam"),
        ({"volume": "v", "rw": [0]}, "invalidParam"),
        ({"volume": "v", "rw": [11], "ro": [11]}, "invalidParam"),
        ({"volume": "v", "rw": 11}, "invalidParam"),
        ({"volume": "v", "detach": "some"}, "invalidParam"),
        ({"rw": [11]}, "invalidParam"),
    ],
)
def test_reassign_refuses_the_whole_call(api: PlainApi, item: dict[str, Any], error: str) -> None:
    with pytest.raises(Failure) as caught:
        api.reassign({"volume": "w", "rw": [11]}, item)
    assert caught.value.name == error
    assert api.attached() == {}


def test_unknown_client_has_storpools_words(api: PlainApi) -> None:
    with pytest.raises(Failure) as caught:
        api.reassign({"volume": "v", "rw": [99]})
    assert caught.value.descr == "No such client registered"


def test_transient_snapshot_is_not_attached(api: PlainApi) -> None:
    auto = api.post("VolumeCreate", {"name": "x", "baseOn": "v"})["autoName"]
    with pytest.raises(Failure) as caught:
        api.reassign({"snapshot": auto, "ro": [11]})
    assert caught.value.name == "invalidParam"


def test_bare_list_and_the_call_that_does_not_wait(api: PlainApi) -> None:
    api.post("VolumesReassignWait", [{"volume": "v", "rw": [11]}])
    api.post("VolumesReassign", [{"volume": "w", "rw": [11]}])
    assert api.attached() == {("v", 11): "rw", ("w", 11): "rw"}
    with pytest.raises(Failure):
        api.post("VolumesReassign", {"reassign": [{"volume": "w", "rw": [11]}]})


def test_open_device_is_detached_by_force_alone(sim: Simulator, api: PlainApi) -> None:
    api.reassign({"volume": "v", "rw": [11, 12]})
    sim.mark_open(11, "v")
    for item in ({"detach": "all"}, {"detach": [11]}, {"rw": [12], "detach": "all"}):
        with pytest.raises(Failure) as caught:
            api.reassign({"volume": "v", **item})
        assert (caught.value.name, caught.value.descr) == ("busy", "'v' is open at client 11")
        assert len(api.attached()) == 2
    api.reassign({"volume": "v", "detach": [12]})
    api.reassign({"volume": "v", "detach": "all", "force": True})
    assert api.attached() == {}
    api.reassign({"volume": "v", "rw": [11]})
    api.reassign({"volume": "v", "detach": "all"})


def test_process_that_has_the_device_open_is_found(tmp_path: Path) -> None:
    with Simulator(tmp_path / "s", clients={11: "node1"}, detect_open=True) as sim:
        api = PlainApi(sim.endpoint)
        api.create("v")
        api.reassign({"volume": "v", "rw": [11]})
        with open(tmp_path / "s/dev/v", "rb"), pytest.raises(Failure) as caught:
            api.reassign({"volume": "v", "detach": "all"})
        assert caught.value.descr == "'v' is open at client 11"
        api.reassign({"volume": "v", "detach": "all"})


def test_attach_waits_for_a_client_that_comes_up(sim: Simulator, api: PlainApi) -> None:
    sim.set_client(11, "down")
    timer = threading.Timer(0.3, sim.set_client, (11, "running"))
    timer.start()
    start = time.monotonic()
    api.reassign({"volume": "v", "rw": [11]}, timeout_s=10)
    assert time.monotonic() - start >= 0.25
    assert links(sim, "node1")[0] == {"v"}
    timer.join()


def test_waiting_does_not_hold_up_other_calls(sim: Simulator, api: PlainApi) -> None:
    sim.set_client(11, "down")
    waiter = threading.Thread(target=api.reassign, args=({"volume": "v", "rw": [11]},))
    waiter.start()
    while not sim.cluster.attachments:
        time.sleep(0.01)
    other = PlainApi(sim.endpoint)
    other.create("meanwhile")
    assert waiter.is_alive()
    sim.set_client(11, "running")
    waiter.join(5)
    assert not waiter.is_alive()


def test_timeout_of_zero_does_not_wait(sim: Simulator, api: PlainApi) -> None:
    sim.set_client(11, "down")
    api.reassign({"volume": "v", "rw": [11]}, timeout_s=0)
    assert api.attached() == {("v", 11): "rw"}
    assert links(sim, "node1")[0] == set()


def test_detach_from_a_dead_client_shows_when_it_is_back(sim: Simulator, api: PlainApi) -> None:
    api.reassign({"volume": "v", "rw": [11]})
    sim.mark_open(11, "v")
    sim.set_client(11, "down")
    api.reassign({"volume": "v", "detach": "all"})
    assert api.attached() == {}
    assert links(sim, "node1")[0] == {"v"}
    sim.set_client(11, "running")
    assert links(sim, "node1")[0] == set()


def test_client_status_follows(sim: Simulator, api: PlainApi) -> None:
    sim.set_client(11, "down")
    api.create("more")
    dump = {each["id"]: each for each in api.get("ClientsConfigDump")}
    assert (dump[11]["configStatus"], dump[12]["configStatus"]) == ("down", "ok")
    assert dump[11]["clientGeneration"] < dump[11]["generation"] == dump[12]["clientGeneration"]
    services = api.get("ServicesList")
    assert {number: each["status"] for number, each in services["clients"].items()} == {
        "11": "down",
        "12": "running",
    }
    assert api.get("ClientConfigWait/12")[0]["configStatus"] == "ok"


def test_client_that_is_late_to_apply_changes(sim: Simulator, api: PlainApi) -> None:
    sim.set_client(11, "updating")
    with pytest.raises(Failure):
        api.reassign({"volume": "v", "rw": [11]}, timeout_s=1)
    dump = {each["id"]: each for each in api.get("ClientsConfigDump")}
    assert dump[11]["configStatus"] == "updating"
    assert dump[11]["clientGeneration"] < dump[11]["generation"]
    assert api.get("ServicesList")["clients"]["11"]["status"] == "running"


def test_stop_does_not_wait_for_waiting_calls(tmp_path: Path) -> None:
    with Simulator(tmp_path / "s", clients={11: "node1"}) as sim:
        api = PlainApi(sim.endpoint)
        api.create("v")
        sim.set_client(11, "down")
        body = {"reassign": [{"volume": "v", "rw": [11]}]}
        waiter = threading.Thread(target=_ignoring_errors, args=(api.post, "VolumesReassignWait", body))
        waiter.start()
        while not sim.cluster.attachments:
            time.sleep(0.01)
    waiter.join(5)
    assert not waiter.is_alive()


def _ignoring_errors(call: Any, *args: Any) -> None:
    with contextlib.suppress(Exception):
        call(*args)


def test_positions_are_used_again(api: PlainApi) -> None:
    api.reassign({"volume": "v", "rw": [11]}, {"volume": "w", "rw": [11]})
    api.reassign({"volume": "v", "detach": "all"})
    api.create("x")
    api.reassign({"volume": "x", "rw": [11]})
    assert {each["volume"]: each["pos"] for each in api.get("AttachmentsList")} == {"w": 1, "x": 0}


def test_a_client_has_1024_devices(sim: Simulator, api: PlainApi) -> None:
    names = [f"m{index}" for index in range(1025)]
    for name in names:
        api.create(name, 512)
    api.reassign(*({"volume": name, "rw": [11]} for name in names[:1024]))
    with pytest.raises(Failure) as caught:
        api.reassign({"volume": names[1024], "rw": [11]})
    assert caught.value.name == "invalidParam"
    api.reassign({"volume": names[1024], "rw": [12]})


def test_unnamed_volume_has_a_link_by_id_alone(sim: Simulator, api: PlainApi) -> None:
    made = api.post("VolumeCreate", {"size": 512})
    api.reassign({"volume": made["name"], "rw": [11]})
    assert links(sim, "node1") == (set(), {made["globalId"]})


def test_one_client_has_its_links_in_the_directory_itself(tmp_path: Path) -> None:
    with Simulator(tmp_path / "s", dev_dir=tmp_path / "storpool", clients={3: "host"}) as sim:
        api = PlainApi(sim.endpoint)
        gid = api.create("v")["globalId"]
        api.reassign({"volume": "v", "rw": [3]})
        assert os.listdir(tmp_path / "storpool") == ["v"]
        assert os.listdir(tmp_path / "storpool-byid") == [gid]


def test_directory_may_name_the_client(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/{{client}}/root/dev/storpool"
    with Simulator(tmp_path / "s", dev_dir=pattern, clients={3: "host"}) as sim:
        api = PlainApi(sim.endpoint)
        api.create("v")
        api.reassign({"volume": "v", "rw": [3]})
        assert os.listdir(tmp_path / "host/root/dev/storpool") == ["v"]
