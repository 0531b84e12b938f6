"""The library against the simulated cluster: what is done is then read back, whatever the release."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.errors import StorPoolRefused, StorPoolUnreachable, Terminated
from storpool_addon.simulator import Simulator
from storpool_addon.simulator.faults import Fault, Verdict
from storpool_addon.simulator.switches import Switches
from storpool_addon.storpool import Api, Endpoint, Policy, Reassign

SIZE = 4 << 20
CLIENTS = {11: "node1", 12: "node2"}


def api_of(simulator: Simulator, **options: Any) -> Api:
    where = simulator.endpoint
    return Api(Endpoint((where.host,), where.port, where.token), **options)


SETTINGS = {
    "as documented": Switches(),
    "errors by HTTP status": Switches(error_status=500, error_generation=True),
    "kept connections": Switches(keep_alive=True),
    "an older release": Switches(create_global_id=False, open_error="invalidParam"),
    "erasure coding": Switches(erasure_coding=True),
    "a strict release": Switches(null_values="reject", unknown_fields="reject"),
}


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS.keys())
def sim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Simulator]:
    switches: Switches = request.param
    with Simulator(tmp_path / "s", clients=CLIENTS, templates=["one-ds-1"], switches=switches) as simulator:
        yield simulator


@pytest.fixture
def api(sim: Simulator) -> Api:
    return api_of(sim)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "s", clients=CLIENTS, templates=["one-ds-1"]) as simulator:
        yield simulator


def test_a_volumes_life(api: Api) -> None:
    api.volume_create("v", size=SIZE, template="one-ds-1", tags={"a": "1", "b": "2"})
    api.volume_update("v", size=2 * SIZE, tags={"a": "", "c": "3"})
    volume = api.volume("v")
    assert (volume.size, volume.template_name, volume.tags) == (2 * SIZE, "one-ds-1", {"b": "2", "c": "3"})
    assert api.volume_get_info("v")[:6] == api.volume(f"~{volume.global_id}")[:6] == volume[:6]
    with pytest.raises(StorPoolRefused):
        api.volume_update("v", size=SIZE)
    api.volume_update("v", size=SIZE, shrink_ok=True, rename="w", policy=Policy(iops=100))
    assert (api.volume("w").size, api.volume("w").iops) == (SIZE, 100)
    api.volume_update("w", policy=Policy(iops="-"))
    assert [(each.name, each.iops) for each in api.volumes_list()] == [("w", None)]
    api.volume_delete("w")
    assert api.volumes_list() == []


def test_snapshots_and_clones(api: Api) -> None:
    api.volume_create("v", size=SIZE)
    made = api.volume_snapshot("v", name="s", tags={"a": "1"}, delete_after_s=3600, bind=True)
    snapshot = api.snapshot("s")
    assert (snapshot.name, snapshot.global_id, snapshot.on_volume) == (made.name, made.global_id, "v")
    assert (snapshot.tags, snapshot.bound, snapshot.target_delete_date is None) == ({"a": "1"}, True, False)
    api.snapshot_update("s", delete_after_s=0, bind=False)
    assert (api.snapshot("s").target_delete_date, api.snapshot_get_info("s").bound) == (None, False)
    api.volume_create("clone", parent="s")
    anonymous = api.volume_snapshot("clone")
    assert api.snapshot(anonymous.name).auto_name
    assert {each.name for each in api.volume_list_snapshots("clone")} == {anonymous.name, "s"}
    assert {each.name for each in api.snapshots_list()} == {"s", anonymous.name}
    both = api.volumes_group_snapshot([("v", "g1"), ("clone", "g2")], tags={"b": "2"})
    assert [(each.volume, each.snapshot) for each in both] == [("v", "g1"), ("clone", "g2")]
    assert both[1].snapshot_global_id == api.snapshot("g2").global_id
    api.volume_revert("v", "s", revert_size=True)
    assert api.volume("v").parent_name == "s"
    api.volume_freeze("clone")
    assert api.snapshot("clone").size == SIZE
    api.snapshot_delete("g2")
    there = {each.name for each in api.snapshots_list() if not each.deleted}
    assert there == {"s", "g1", "clone", anonymous.name}


def test_attachments_move(sim: Simulator, api: Api) -> None:
    api.volume_create("v", size=SIZE)
    api.volumes_reassign_wait([Reassign(volume="v", rw=[11])])
    api.volumes_reassign_wait([Reassign(volume="v", rw=[12])])
    assert sorted((each.client, each.rights) for each in api.attachments_list()) == [(11, "rw"), (12, "rw")]
    sim.mark_open(11, "v")
    with pytest.raises(StorPoolRefused, match="is open at client 11"):
        api.volumes_reassign_wait([Reassign(volume="v", rw=[12], detach="all")])
    with pytest.raises(StorPoolRefused, match=r"VolumeDelete v: "):
        api.volume_delete("v")
    api.volumes_reassign_wait([Reassign(volume="v", rw=[12], detach="all", force=True)])
    assert [(each.client, each.volume, each.snapshot) for each in api.attachments_list()] == [
        (12, "v", False)
    ]
    with pytest.raises(StorPoolRefused, match="No such client registered") as caught:
        api.volumes_reassign_wait([Reassign(volume="v", rw=[99])])
    assert caught.value.name == "invalidParam"


def test_the_cluster_and_its_space(api: Api) -> None:
    api.volume_create("v", size=SIZE, template="one-ds-1")
    api.volume_snapshot("v", name="s")
    services = api.services_list()
    assert (services.cluster_status, {*services.clients}) == ("running", {*CLIENTS})
    assert {each.id for each in api.clients_config_dump()} == {*CLIENTS}
    assert api.client_config_wait(11).config_status == "ok"
    [status] = api.volume_templates_status()
    assert (status.name, status.volumes_count, status.snapshots_count) == ("one-ds-1", 1, 1)
    assert status.capacity is not None
    assert 0 < (status.free or 0) <= status.capacity
    assert [each.name for each in api.volumes_space()] == ["v"]
    assert [each.name for each in api.snapshots_space()] == ["s"]
    assert {name: each.snapshot for name, each in api.volumes_get_status().items()} == {"v": False, "s": True}
    assert api.volumes_get_status_quick()["v"].stored_size is None


def test_templates(api: Api) -> None:
    api.volume_template_create(
        "t", policy=Policy(replication=3, place_all="hdd", place_tail="ssd"), size=SIZE
    )
    assert api.volume_template_describe("t").place_tail == "ssd"
    assert api.volume_create("v", template="t").name == "v"
    api.volume_template_update("t", policy=Policy(bw=100), propagate=True)
    assert (api.volume("v").bw, api.volume("v").size) == (100, SIZE)
    api.volume_delete("v")
    api.volume_template_delete("t")
    assert [each.name for each in api.volume_templates_list()] == ["one-ds-1"]


def test_backups_go_there_and_come_back(plain: Simulator, tmp_path: Path) -> None:
    with Simulator(tmp_path / "far", cluster_id="f.r") as far:
        plain.connect(far, location="far", known_as="near")
        api = api_of(plain)
        api.volume_create("v", size=SIZE)
        remote_id = api.volume_backup("v", "far", {"del": "y"})
        [kept] = api.snapshots_remote_list()
        assert (kept.remote_id, kept.location, kept.tags, kept.local_snapshot) == (
            remote_id,
            "far",
            {"del": "y"},
            "",
        )
        assert [each.volume for each in api.volumes_group_backup(["v"], "far")] == ["v"]
        api.snapshot_from_remote("far", remote_id, name="back", tags={"a": "1"})
        assert (api.snapshot("back").size, api.snapshot("back").tags) == (SIZE, {"a": "1"})
        with pytest.raises(StorPoolRefused) as caught:
            api.snapshot_from_remote("far", remote_id, name="again")
        assert caught.value.name == "objectExists"
        api.snapshot_export("back", "far")
        assert [(each.snapshot, each.location) for each in api.exports_list()] == [("back", "far")]
        api.snapshot_unexport("back", "far")
        assert api.exports_list() == []


def test_a_multicluster_is_asked_where_a_call_can(plain: Simulator) -> None:
    api = api_of(plain, multicluster=True)
    api.volume_create("v", size=SIZE)
    assert api.volume("v").name == "v"
    assert len(api.volume_templates_list()) == 1
    asked = [each.path.split("/ctrl/1.0/")[1] for each in plain.requests]
    assert asked == ["MultiCluster/VolumeCreate", "MultiCluster/Volume/v", "VolumeTemplatesList"]


def test_waiting_for_a_client_that_is_down_ends(plain: Simulator) -> None:
    plain.set_client(11, "down")
    api = api_of(plain, deadline_s=0.6)
    api.volume_create("v", size=SIZE)
    with pytest.raises(StorPoolUnreachable, match="ClientConfigWait 11"):
        api.client_config_wait(11)


def test_a_signal_ends_a_call_at_once(plain: Simulator) -> None:
    def terminate(number: int, frame: object) -> None:
        raise Terminated(number)

    plain.faults.set([Fault(Verdict.delay(5), "VolumesList")])
    before = signal.signal(signal.SIGUSR1, terminate)
    alarm = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident or 0, signal.SIGUSR1))
    alarm.start()
    try:
        with pytest.raises(Terminated):
            api_of(plain).volumes_list()
    finally:
        alarm.join()
        signal.signal(signal.SIGUSR1, before)
