"""What is counted while StorPool's lists pass by."""

from __future__ import annotations

from typing import Any

import pytest

from storpool_addon.datastore.lastround import clients_of
from storpool_addon.errors import OpenNebulaError
from storpool_addon.monitoring.census import Attached, Census
from storpool_addon.monitoring.sizes import Wanted
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.xml import parse

WANTED = Wanted("one-", "nloc", "one")


def entry(name: Any, template: Any = "one-ds-101", **tags: str) -> dict[str, Any]:
    return {"name": name, "templateName": template, "spaceUsed": 7, "tags": {"nloc": "one", **tags}}


def attachment(name: Any, client: Any, **more: Any) -> dict[str, Any]:
    return {"volume": name, "client": client, "rights": "rw", **more}


def counted(volumes: list[Any], snapshots: list[Any], attachments: list[Any]) -> dict[str, Any]:
    """Read twice, as after a lost answer; what passes is what came."""
    census = Census(WANTED, Attached.read(attachments, "one-"), "delayed")
    for _ in range(2):
        assert list(census.volumes(volumes)) == volumes and list(census.snapshots(snapshots)) == snapshots
    return census.content()


def test_ours_are_counted_by_template_state_and_client() -> None:
    volumes = [
        entry("one-img-1"), entry("one-img-2"), entry("one-img-3", unfinished="fe"),
        entry("one-sys-4-0-raw", "one-ds-100"),
        entry("one-img-5", nloc="two"), entry("two-img-1"), entry("pre-one-img-1"),
    ]  # fmt: skip
    snapshots = [
        entry("one-img-1-snap0"),
        entry("one-img-9-deleted-x", delayed="one-img-9"),
        {"name": "one-img-1-snap1"},
    ]
    attachments = [
        attachment("one-img-1", 11), attachment("one-img-1", 12, clusterId="d.n"),
        attachment("one-sys-4-0-raw", 11), attachment("two-img-1", 11),
    ]  # fmt: skip
    assert counted(volumes, snapshots, attachments) == {
        "volumes": [
            ["one-ds-101", "attached", 1], ["one-ds-101", "detached", 1],
            ["one-ds-101", "unfinished", 1], ["one-ds-100", "attached", 1],
        ],
        "snapshots": [["one-ds-101", "kept", 1], ["one-ds-101", "deleted", 1], ["", "kept", 1]],
        "freed": [["one-ds-101", 7]],
        "attachments": [["", 11, "rw", 2], ["d.n", 12, "rw", 1]],
    }  # fmt: skip


def test_odd_entries_pass_and_count_nothing() -> None:
    wrong = entry("one-img-1") | {"tags": 3}
    odd: list[Any] = [None, 7, "one-img-1", [], {}, {"name": None}, {"name": 5, "tags": {}}, wrong]
    strange = [entry("one-img-1-deleted-x", None, delayed="x") | {"spaceUsed": "many"}]
    found = counted(odd, [*odd, *strange], [*odd, attachment("one-img-1", "11"), attachment(["one-"], 11)])
    assert found == {"volumes": [], "snapshots": [["", "deleted", 1]], "freed": [], "attachments": []}


@pytest.mark.parametrize(
    ("attributes", "home", "found"),
    [
        ("<SP_OURID>11</SP_OURID>", (), [("", 11)]),
        ("<SP_OURID>11</SP_OURID>", ("d.n",), [("", 11)]),
        ("", (), []),
        ("<SP_OURID>x</SP_OURID>", (), []),
        # Of the datastores' cluster, and known by its number there in a multicluster's list too.
        ("<SP_OURID>11</SP_OURID><SP_CLUSTER_ID>d.n</SP_CLUSTER_ID>", ("d.n",), [("", 11), ("d.n", 11)]),
        # Of another one: by itself no client of this API, unless it has a number there too.
        ("<SP_OURID>11</SP_OURID><SP_CLUSTER_ID>d.o</SP_CLUSTER_ID>", ("d.n",), [("d.o", 11)]),
        (
            "<SP_OURID>11</SP_OURID><SP_CLUSTER_ID>d.o</SP_CLUSTER_ID><SP_OURID_D_N>5</SP_OURID_D_N>",
            ("d.n",),
            [("", 5), ("d.o", 11)],
        ),
    ],
)
def test_which_clients_a_host_is(
    attributes: str, home: tuple[str, ...], found: list[tuple[str, int]]
) -> None:
    document = f"<HOST><ID>1</ID><NAME>node1</NAME><TEMPLATE>{attributes}</TEMPLATE></HOST>"
    host = Host.from_node(parse(document.encode(), "host", OpenNebulaError))
    assert list(clients_of(host, home)) == [[*each, "node1"] for each in found]
