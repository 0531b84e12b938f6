"""What goes over the wire: the envelope, authentication, paths, prefixes."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

import pytest

from storpool_addon.simulator import Simulator, Switches
from tests.simulator.plainapi import PREFIX, Failure, PlainApi


def test_envelope_and_headers(api: PlainApi) -> None:
    response, body = api.raw("GET", PREFIX + "VolumesList")
    assert (response.status, response.version) == (200, 10)
    headers = {name.lower(): value for name, value in response.getheaders()}
    assert headers == {
        "connection": "close",
        "content-type": "application/json",
        "cache-control": "private",
        "content-length": str(len(body)),
    }
    assert json.loads(body) == {"generation": 2, "data": []}


def test_generation_counts_changes_alone(api: PlainApi) -> None:
    api.get("VolumesList")
    before = api.generation
    api.create("v")
    assert api.generation == before + 1
    api.get("Volume/v")
    with pytest.raises(Failure):
        api.create("v")
    api.get("VolumesList")
    assert api.generation == before + 1


@pytest.mark.parametrize("authorization", ["Storpool v1:wrong", "Storpool v1:", "", None])
def test_wrong_token(sim: Simulator, api: PlainApi, authorization: str | None) -> None:
    connection = http.client.HTTPConnection(api.endpoint.host, api.endpoint.port)
    headers = {} if authorization is None else {"Authorization": authorization}
    connection.request("POST", PREFIX + "VolumeCreate", b'{"name":"v","size":512}', headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert (response.status, answer["error"]["name"]) == (403, "forbidden")
    assert sim.cluster.volumes == {}


def test_token_is_not_in_the_log(sim: Simulator, api: PlainApi) -> None:
    api.raw("GET", PREFIX + "VolumesList", token="secret-and-wrong")
    api.get("VolumesList")
    assert len(sim.requests) == 2
    assert "secret-and-wrong" not in repr(sim.requests)
    assert sim.token not in repr(sim.requests)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "NoSuchQuery"),
        ("GET", "VolumeCreate"),
        ("POST", "VolumesList"),
        ("GET", "Volume"),
        ("GET", "Volume/"),
        ("GET", "Volume/a/b"),
        ("GET", "KV/Get/onlybucket"),
        ("POST", "MultiCluster/SnapshotUpdate/s"),
        ("GET", ""),
    ],
)
def test_unknown_query(api: PlainApi, method: str, path: str) -> None:
    with pytest.raises(Failure) as caught:
        api.call(method, path, {} if method == "POST" else None)
    assert caught.value.name == "invalidParam"


def test_other_path(api: PlainApi) -> None:
    _, body = api.raw("GET", "/elsewhere")
    assert json.loads(body)["error"]["name"] == "invalidParam"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[1,", b"nonsense"])
def test_malformed_json(api: PlainApi, body: bytes) -> None:
    _, answer = api.raw("POST", PREFIX + "VolumeCreate", body)
    assert json.loads(answer)["error"]["name"] == "invalidParam"


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_body_may_be_missing(api: PlainApi, body: bytes | None) -> None:
    api.create("v")
    _, answer = api.raw("POST", PREFIX + "VolumeDelete/v", body)
    assert json.loads(answer)["data"]["ok"] is True


def test_json_argument_of_a_get_is_in_the_query(sim: Simulator, api: PlainApi) -> None:
    assert api.get('VolumesList?json={"a":1}'.replace('"', "%22")) == []
    assert sim.requests[-1].body == {"a": 1}


def test_multicluster_calls_say_where_a_volume_is(api: PlainApi) -> None:
    api.post("MultiCluster/VolumeCreate", {"name": "v", "size": 512})
    assert "clusterId" not in api.volume("v")
    located = api.get("MultiCluster/Volume/v")[0]
    assert (located["clusterName"], located["clusterId"]) == ("d.n", "d.n")
    api.post("MultiCluster/VolumesReassignWait", {"reassign": [{"volume": "v", "rw": [11]}]})
    assert api.get("MultiCluster/AttachmentsList")[0]["clusterId"] == "d.n"


def test_connection_is_kept_where_the_switch_says_so(tmp_path: Path) -> None:
    with Simulator(tmp_path / "s", switches=Switches(keep_alive=True)) as sim:
        connection = http.client.HTTPConnection(*sim.endpoint[:2])
        for _ in range(2):
            headers = {"Authorization": f"Storpool v1:{sim.token}"}
            connection.request("GET", PREFIX + "VolumesList", headers=headers)
            response = connection.getresponse()
            assert (response.version, response.getheader("Connection")) == (11, "keep-alive")
            response.read()
            assert connection.sock is not None
        connection.close()


def test_ipv6(tmp_path: Path) -> None:
    if not _has_ipv6():
        pytest.skip("no IPv6 on the loopback interface")
    with Simulator(tmp_path / "s", listen=("::1", 0)) as sim:
        assert PlainApi(sim.endpoint).get("VolumesList") == []


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_log(sim: Simulator, api: PlainApi) -> None:
    api.create("v")
    with pytest.raises(Failure):
        api.create("v")
    first, second = sim.requests
    assert (first.number, first.query, first.body["name"], first.error) == (1, "VolumeCreate", "v", "")
    assert (second.number, second.error, second.status) == (2, "objectExists", 200)
    status, answer = api.control("GET", "log?since=1")
    assert (status, [each["number"] for each in answer["requests"]]) == (200, [2])
    api.control("DELETE", "log")
    assert sim.requests == []


@pytest.mark.parametrize(
    ("method", "what", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "clock", {}, 400),
        ("POST", "clients", {"id": 11, "status": "asleep"}, 400),
        ("POST", "open", {"client": 11, "volume": "none"}, 400),
        ("POST", "switches", {"colour": "red"}, 400),
        ("POST", "faults", {"kind": "explode"}, 400),
    ],
)
def test_control_says_what_is_wrong(api: PlainApi, method: str, what: str, body: object, status: int) -> None:
    answered, answer = api.control(method, what, body)
    assert answered == status
    assert answer["error"]


def test_control_moves_the_world(sim: Simulator, api: PlainApi) -> None:
    api.create("v")
    api.post("VolumeSnapshot/v", {"name": "s", "deleteAfter": 3600})
    assert api.control("POST", "clock", {"advance": 3600})[1]["now"] == sim.cluster.now()
    assert sim.cluster.snapshots == {}
    assert api.control("POST", "clock", {"set": 2_000_000_000})[1]["now"] == 2_000_000_000
    api.control("POST", "clients", {"id": 77, "name": "node77"})
    api.reassign({"volume": "v", "rw": [77]})
    api.control("POST", "open", {"client": 77, "volume": "v"})
    with pytest.raises(Failure, match="open at client 77"):
        api.reassign({"volume": "v", "detach": "all"})
    api.control("POST", "open", {"client": 77, "volume": "v", "open": False})
    api.reassign({"volume": "v", "detach": "all"})
    assert api.control("POST", "switches", {"error_status": 500})[1]["error_status"] == 500
    assert sim.switches.error_status == 500
