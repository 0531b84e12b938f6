"""A round of collecting with clusters that answer oddly, slowly or without end, and an oned that is gone."""

from __future__ import annotations

import time
from typing import Any

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.rpc import INTERNAL, Refusal
from tests.monitoring.test_collect import collect, expected, kept, machine, monitor, monitord
from tests.storpool.servers import RawServer, data, drip, say

GIB = 1 << 30
STATUS = {"name": "one-ds-105", "stored": {"capacity": 9 * GIB, "free": 4 * GIB}}
# In the order in which a round asks.
ANSWERS = [
    data([7, {"name": 5}, {"name": "other", "stored": 5}, STATUS]),
    data({"one-ds-105": {}}),
    data([{"volume": None}, None]),
    data([None, {"name": "one-img-99", "spaceUsed": 1}]),
    data([{"name": "one-img-98", "spaceUsed": "1", "tags": 7}]),
]


def test_what_is_odd_or_slow_is_said_and_costs_nobody_else_anything(lab: Lab) -> None:
    vm = machine(lab)
    servers = RawServer([say(each) for each in ANSWERS]), RawServer([drip(ANSWERS[0], 0.5)])
    with (
        servers[0] as odd,
        servers[1] as slow,
        monitord(lab, MONITOR_COLLECT_SECONDS=2, SP_API_DEADLINE=30) as listener,
    ):
        for datastore_id, server in ((105, odd), (106, slow)):
            where = f"{server.address}:{server.port}"
            lab.oned.add_image_datastore(
                datastore_id, "odd", SP_API_HTTP_HOST=where, SP_AUTH_TOKEN="12345678"
            )
        lab.oned.add_image_datastore(107, "new")
        began = time.monotonic()
        code, out, err = collect(lab)
        assert code == 1 and time.monotonic() - began < 6
        for words in (
            "3 templates are left out: StorPool's",
            "StorPool's answer is a dict where a list belongs",
            "2 entries are not what StorPool sends",
            "not answered in 2 s; what it has is left out",
            "StorPool lists no template one-ds-107; create it for datastore 107",
        ):
            assert err.count(words) == 1, (words, err)
        assert out == "3 clusters, 1 VMs, 0 sizes unknown, 5 troubles\n"
        assert monitor(lab, 105).stdout == "USED_MB=5120\nTOTAL_MB=9216\nFREE_MB=4096\n"
        assert len(odd.requests) == len(ANSWERS)
        monitor(lab, 100)
        assert listener.told() == {"42": expected(lab, vm)}

        # oned goes away half way: what of VMs was known stays, and the clusters' capacity is there.
        del lab.oned.datastores[105]
        lab.oned.datastores[106].attributes["SP_SKIP_MONITOR"] = "1"
        lines = len(kept(lab).read_text().splitlines())
        lab.rpc.methods.table["one.vmpool.infoextended"] = refused
        code, out, err = collect(lab, "--disks")
        assert code == 1 and "disks of VMs are left out: " in err and "one-ds-107" in err, (out, err)
        assert out == "1 clusters, 0 VMs, 0 sizes unknown, 2 troubles\n"
        assert len(kept(lab).read_text().splitlines()) < lines
        monitor(lab, 100)
        assert listener.told() == {"42": expected(lab, vm)}


def refused(*_: Any) -> Any:
    raise Refusal(INTERNAL, "not now")
