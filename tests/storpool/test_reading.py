"""StorPool's JSON becomes records; what is unknown is ignored and what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from storpool_addon.errors import StorPoolNonsense
from storpool_addon.storpool import ClientConfig, Reassign, TemplateStatus, reading
from tests.storpool.volumes import SNAPSHOT, VOLUME


def test_a_volume() -> None:
    volume = reading.volume(VOLUME)
    assert (volume.name, volume.global_id, volume.size) == ("one-img-7-42-0", "d.n.a1z", 10737418240)
    assert (volume.parent_name, volume.template_name) == ("one-img-7@4709", "one-ds-100")
    assert (volume.iops, volume.bw, volume.replication) == (None, None, 3)
    assert volume.tags["nvm"] == "42"


def test_a_snapshot() -> None:
    snapshot = reading.snapshot(SNAPSHOT)
    assert (snapshot.name, snapshot.on_volume, snapshot.target_delete_date) == (
        "one-img-7-42-0-snap1",
        "",
        1718172800,
    )
    assert reading.snapshot({**SNAPSHOT, "targetDeleteDate": 0}).target_delete_date is None
    assert reading.snapshot({**SNAPSHOT, "onVolume": "v", "deleted": True, "autoName": True})[-8:-5] == (
        "v",
        True,
        True,
    )


def test_a_reader_keeps_to_the_order_of_its_record() -> None:
    # It passes values by position, which is what makes it fast.
    with pytest.raises(TypeError, match="another order"):
        reading.reader(ClientConfig, generation=reading.count, id=reading.number)


TOLERATED: list[tuple[dict[str, Any], str, Any]] = [
    ({"somethingNew": [1, {"a": 2}]}, "name", "one-img-7-42-0"),
    ({"tags": None}, "tags", {}),
    ({"tags": {}}, "tags", {}),
    ({"iops": 1000, "bw": 200}, "iops", 1000),
    ({"iops": None}, "iops", None),
    ({"size": "512"}, "size", 512),
    ({"parentName": ""}, "parent_name", ""),
    ({"parentName": None}, "parent_name", ""),
    ({"templateName": "-"}, "template_name", ""),
    ({"replication": "-"}, "replication", None),
    ({"replication": {"ec": "2+2"}}, "replication", None),
    ({"globalId": None}, "global_id", ""),
    ({"creationTimestamp": None}, "creation_timestamp", 0),
]


@pytest.mark.parametrize(("change", "field", "expected"), TOLERATED)
def test_what_releases_differ_in_is_tolerated(change: dict[str, Any], field: str, expected: Any) -> None:
    given = {key: value for key, value in {**VOLUME, **change}.items() if value is not None}
    assert getattr(reading.volume(given), field) == expected


BAD_VOLUMES: list[tuple[Any, str]] = [
    ({**VOLUME, "size": "big"}, "volume 'one-img-7-42-0' whose size is not a whole number"),
    ({**VOLUME, "size": True}, "whose size is not a whole number"),
    ({**VOLUME, "size": 1.5}, "whose size is not a whole number"),
    ({**VOLUME, "size": None}, "whose size is not a whole number"),
    ({**VOLUME, "size": "9" * 5000}, "whose size"),
    ({**VOLUME, "name": 7}, "whose name is not a string"),
    ({**VOLUME, "tags": ["a"]}, "whose tags is not an object of strings"),
    ({**VOLUME, "tags": {"a": 1}}, "whose tags is not an object of strings"),
    ({**VOLUME, "iops": "fast"}, "whose iops is not a whole number"),
    ({**VOLUME, "parentName": 3}, "whose parentName is not a string"),
    ({}, "whose name is not a string"),
    ([], "a list where a volume belongs"),
    ("volume", "a str where a volume belongs"),
    (None, "a NoneType where a volume belongs"),
]


@pytest.mark.parametrize(("given", "text"), BAD_VOLUMES)
def test_wrong_types_are_nonsense_that_names_them(given: Any, text: str) -> None:
    with pytest.raises(StorPoolNonsense) as caught:
        reading.volume(given)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 400


BAD_ANSWERS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda value: reading.list_of(reading.volume, value), {}),
    (lambda value: reading.list_of(reading.volume, value), None),
    (lambda value: reading.one_of(reading.volume, value), []),
    (lambda value: reading.one_of(reading.volume, value), [VOLUME, VOLUME]),
    (reading.snapshot, {**SNAPSHOT, "deleted": "no"}),
    (reading.snapshot, {**SNAPSHOT, "targetDeleteDate": "soon"}),
    (reading.attachment, {"client": "x", "volume": "v", "rights": "rw"}),
    (reading.attachment, {"client": 1, "volume": "v"}),
    (reading.template_status, []),
    (reading.template_status, {}),
    (reading.template_status, {"name": "t", "size": "x"}),
    (reading.template_status, {"name": "t", "stored": 4}),
    (reading.template_status, {"name": "t", "stored": {"capacity": "x"}}),
    (reading.services, []),
    (reading.services, {"clients": [1]}),
    (reading.services, {"clients": {"1": None}}),
    (reading.services, {"clients": {"x": {"status": "running"}}}),
    (reading.statuses, []),
    (reading.statuses, {"v": 1}),
    (reading.statuses, {"v": {"size": 1}}),
    (reading.backups, None),
    (reading.backups, {"v": {}}),
    (reading.backups, {"v": {"remoteId": 5}}),
    (lambda value: reading.member(value, "x"), []),
]


@pytest.mark.parametrize(("read", "given"), BAD_ANSWERS)
def test_answers_of_another_shape_are_nonsense(read: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(StorPoolNonsense):
        read(given)


def test_template_status_tells_unknown_from_nothing() -> None:
    stored = {"capacity": 1000, "free": 900, "internal": {"u1": 1, "u2": 2, "u3": 3}}
    assert reading.template_status({"name": "t", "stored": stored})[:6] == ("t", 1000, 900, 1, 2, 3)
    assert reading.template_status({"name": "t", "stored": {"capacity": 0, "free": 0}})[1:4] == (0, 0, None)
    assert reading.template_status({"name": "t"}) == TemplateStatus("t", None, None)


def test_services_have_numbers_for_keys() -> None:
    document = {
        "clusterStatus": "running",
        "mgmt": {
            "1": {"id": 1, "nodeId": 1, "status": "running", "version": "21.0", "active": True, "prio": 3}
        },
        "clients": {"11": {"status": "down"}},
    }
    services = reading.services(document)
    assert services.mgmt[1].active
    assert services.clients[11].status == "down"
    assert (services.servers, services.cluster_status) == ({}, "running")


def test_statuses_are_kept_by_name() -> None:
    found = reading.statuses({"v": {"status": "up", "snapshot": True, "storedSize": 5}})["v"]
    assert (found.name, found.status, found.snapshot, found.stored_size, found.on_disk_size) == (
        "v",
        "up",
        True,
        5,
        None,
    )


def test_a_client_is_read_with_what_it_has() -> None:
    read = reading.client_config(
        {"id": "11", "generation": 5, "clientGeneration": 4, "configStatus": "updating"}
    )
    assert read == ClientConfig(11, 5, 4, "updating", 0)


REASSIGNS = [
    (Reassign(volume="v", rw=[11]), {"volume": "v", "rw": [11]}),
    (Reassign(snapshot="s", ro=(11, 12)), {"snapshot": "s", "ro": [11, 12]}),
    (Reassign(volume="v", detach="all", force=True), {"volume": "v", "detach": "all", "force": True}),
    (Reassign(volume="~d.n.1", rw=[5], detach=[6]), {"volume": "~d.n.1", "rw": [5], "detach": [6]}),
    (Reassign(volume="v"), {"volume": "v"}),
]


@pytest.mark.parametrize(("item", "body"), REASSIGNS)
def test_items_of_a_reassign(item: Reassign, body: dict[str, Any]) -> None:
    assert item.body() == body
    assert item.name == (item.volume or item.snapshot)
