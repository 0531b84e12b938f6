"""Faults: each kind on the wire, each way to aim it, from code and as data."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import pytest

from storpool_addon.simulator import GARBAGE, LOSE, REFUSE, TRUNCATED, Fault, Moment, Simulator, Verdict
from tests.simulator.plainapi import PREFIX, Failure, PlainApi


@pytest.mark.parametrize(
    ("verdict", "when", "error", "acted"),
    [
        (REFUSE, "before", ConnectionError, False),
        (LOSE, "before", ConnectionError, True),
        (LOSE, "after", ConnectionError, True),
        (GARBAGE, "before", ValueError, True),
        (TRUNCATED, "before", (http.client.IncompleteRead, ConnectionError), True),
        (Verdict.error("busy", transient=True, status=503), "before", Failure, False),
        (Verdict.error("busy"), "after", Failure, True),
    ],
)
def test_kinds(sim: Simulator, api: PlainApi, verdict: Verdict, when: str, error: Any, acted: bool) -> None:
    sim.faults.add([Fault(verdict, query="VolumeCreate", when=when)])
    with pytest.raises(error):
        api.create("v")
    assert ("v" in sim.cluster.volumes) == acted
    api.create("w")
    assert "w" in sim.cluster.volumes


def test_error_says_what_it_was_told(sim: Simulator, api: PlainApi) -> None:
    sim.faults.add([Fault(Verdict.error("busy", "try later", transient=True, status=503))])
    with pytest.raises(Failure) as caught:
        api.create("v")
    assert (caught.value.status, caught.value.name, caught.value.descr) == (503, "busy", "try later")
    assert caught.value.transient is True


def test_delay(sim: Simulator, api: PlainApi) -> None:
    sim.faults.add([Fault(Verdict.delay(0.3))])
    start = time.monotonic()
    api.create("v")
    assert time.monotonic() - start >= 0.3


def test_drip_is_slow_and_whole(sim: Simulator, api: PlainApi) -> None:
    sim.faults.add([Fault(Verdict("drip", seconds=0.005))])
    start = time.monotonic()
    assert api.get("VolumesList") == []
    assert time.monotonic() - start >= 0.1


def test_client_goes_down_in_the_middle(sim: Simulator, api: PlainApi) -> None:
    api.create("v")
    sim.faults.add([Fault(Verdict("client", client=11), query="VolumesReassignWait")])
    with pytest.raises(Failure, match="client 11"):
        api.reassign({"volume": "v", "rw": [11]}, timeout_s=1)
    assert sim.cluster.clients()[11].status == "down"


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        (Fault(REFUSE, times=2), [0, 1]),
        (Fault(REFUSE, skip=1), [1]),
        (Fault(REFUSE, skip=2, times=0), [2, 3]),
        (Fault(REFUSE, object="v2"), [2]),
        (Fault(REFUSE, query="VolumeDelete"), []),
    ],
)
def test_aim(sim: Simulator, api: PlainApi, fault: Fault, failing: list[int]) -> None:
    sim.faults.add([fault])
    failed = []
    for index in range(4):
        try:
            api.create(f"v{index}")
        except ConnectionError:
            failed.append(index)
    assert failed == failing


def test_object_is_found_in_path_and_deep_in_the_body(sim: Simulator, api: PlainApi) -> None:
    api.create("v")
    sim.faults.add([Fault(Verdict.error("busy"), object="v", times=0)])
    for call in (
        lambda: api.get("Volume/v"),
        lambda: api.reassign({"volume": "v", "rw": [11]}),
        lambda: api.post("VolumesGroupSnapshot", {"volumes": [{"volume": "v", "name": "s"}]}),
    ):
        with pytest.raises(Failure, match="busy"):
            call()
    api.create("vv")


def test_gate_sees_every_call_twice_and_can_count(sim: Simulator, api: PlainApi) -> None:
    seen: list[Moment] = []

    def gate(moment: Moment) -> Verdict | None:
        seen.append(moment)
        return LOSE if moment.number == 2 and moment.when == "after" else None

    sim.gate = gate
    api.create("v")
    with pytest.raises(ConnectionError):
        api.create("w")
    assert [each.number for each in seen] == [1, 1, 2, 2]
    assert [each.when for each in seen] == ["before", "after"] * 2
    assert (seen[0].query, seen[0].body["name"], seen[0].answer) == ("VolumeCreate", "v", None)
    assert seen[1].answer["data"]["name"] == "v"
    assert sim.requests[-1].fate == "lose"


def test_gate_also_sees_refused_calls(sim: Simulator, api: PlainApi) -> None:
    answers = []
    sim.gate = lambda moment: answers.append(moment.answer)  # type: ignore[func-returns-value,assignment]
    with pytest.raises(Failure):
        api.volume("none")
    assert answers[1]["error"]["name"] == "objectDoesNotExist"


def test_as_data(sim: Simulator, api: PlainApi) -> None:
    fault = {"kind": "error", "name": "busy", "transient": True, "query": "VolumeCreate", "times": 2}
    status, answer = api.control("POST", "faults", [fault])
    assert (status, len(answer["faults"])) == (200, 1)
    for _ in range(2):
        with pytest.raises(Failure, match="busy"):
            api.create("v")
    api.create("v")
    (listed,) = api.control("GET", "faults")[1]["faults"]
    assert (listed["matched"], listed["verdict"]["name"], listed["query"]) == (3, "busy", "VolumeCreate")
    assert api.control("DELETE", "faults")[1] == {"faults": []}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "none"},
        {"kind": "refuse", "when": "later"},
        {"kind": "refuse", "often": 2},
        {"kind": "delay", "seconds": "long"},
    ],
)
def test_wrong_data(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Fault.parse(data)


def test_switches_shape_errors(sim: Simulator, api: PlainApi) -> None:
    sim.switches = sim.switches._replace(
        error_status=500, error_generation=True, transient_errors="busy,objectDoesNotExist"
    )
    with pytest.raises(Failure) as caught:
        api.volume("none")
    assert (caught.value.status, caught.value.transient) == (500, True)
    assert caught.value.body["generation"] == sim.cluster.generation
    response, body = api.raw("GET", PREFIX + "Volume/none")
    assert (response.status, json.loads(body)["error"]["name"]) == (500, "objectDoesNotExist")
