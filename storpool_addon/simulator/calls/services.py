"""The cluster's own state: services, clients, disks, maintenance."""

from __future__ import annotations

import time
from typing import Any

from storpool_addon.simulator import fields, show
from storpool_addon.simulator.attaching import wait_for
from storpool_addon.simulator.calls.registry import Request, call, ok
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Client, Maintenance
from storpool_addon.simulator.refusal import Refused, invalid, missing

Json = dict[str, Any]


@call("GET", "ServicesList")
def services_list(cluster: Cluster, request: Request) -> Json:
    _check_operational(cluster)
    return {**_services(cluster), "clients": _clients(cluster)}


@call("GET", "ServersList")
def servers_list(cluster: Cluster, request: Request) -> Json:
    _check_operational(cluster)
    return _services(cluster)


def _check_operational(cluster: Cluster) -> None:
    status = cluster.switches.cluster_status
    if status != "running":
        raise Refused("clusterNotOperational", f"The cluster is not operational: {status}")


@call("GET", "ServersListBlocked")
def servers_list_blocked(cluster: Cluster, request: Request) -> Json:
    return _services(cluster)


def _services(cluster: Cluster) -> Json:
    mgmt = {**_service(1, "running"), "active": True, "prio": 0}
    return {
        "clusterStatus": cluster.switches.cluster_status,
        "mgmt": {"1": mgmt},
        "clients": {},
        "servers": {str(each): _server(each) for each in show.SERVERS},
        "bridges": {},
        "iscsiTargets": {},
    }


def _service(number: int, status: str, started: int = 0) -> Json:
    # Node ids end at 63 while client ids end at 4095: nodeId is for those that can be both.
    node = {"nodeId": number} if number < 64 else {}
    return {"id": number, **node, "status": status, "version": show.VERSION, "startTime": started}


def _server(number: int) -> Json:
    return {**_service(number, "running"), "missingDisks": [], "pendingDisks": []}


def _clients(cluster: Cluster) -> dict[str, Json]:
    return {
        str(each.id): _service(each.id, _status(each), each.started) for each in cluster.clients().values()
    }


def _status(client: Client) -> str:
    return "down" if client.status == "down" else "running"


@call("GET", "ClientsConfigDump")
def clients_config_dump(cluster: Cluster, request: Request) -> list[Json]:
    return [show.client_status(cluster, each) for each in cluster.clients().values()]


@call("GET", "ClientConfigWait/{client}")
def client_config_wait(cluster: Cluster, request: Request) -> list[Json]:
    number = _client(cluster, request.args[0]).id
    start = time.monotonic()
    wait_for(cluster, [number], None)
    return [show.client_status(cluster, cluster.clients()[number], int(time.monotonic() - start))]


@call("GET", "ClientActiveRequests/{client}")
def client_active_requests(cluster: Cluster, request: Request) -> Json:
    return {"clientId": _client(cluster, request.args[0]).id, "requests": []}


def _client(cluster: Cluster, text: str) -> Client:
    found = cluster.clients().get(int(text) if text.isdecimal() else -1)
    if found is None:
        raise invalid("No such client registered")
    return found


@call("GET", "TasksList")
def tasks_list(cluster: Cluster, request: Request) -> list[Json]:
    return []


@call("GET", "MaintenanceList")
def maintenance_list(cluster: Cluster, request: Request) -> Json:
    return {"nodes": [_maintained(cluster, each) for each in cluster.table(Maintenance).values()]}


def _maintained(cluster: Cluster, each: Maintenance) -> Json:
    left = each.started + each.duration - int(cluster.now())
    return {
        "nodeId": each.node,
        "started": each.started,
        "duration": each.duration,
        "description": each.description,
        "overrun": left < 0,
        "remaining": max(0, left),
    }


@call("POST", "MaintenanceSet")
def maintenance_set(cluster: Cluster, request: Request) -> Json:
    counts = ("minOkReplicas", "maxReplicationDecrease", "votingSafetyMargin", "maxNodesInMaintenance")
    spec = {"nodeId": fields.natural, "duration": fields.natural, "description": fields.text}
    values = request.fields(cluster, {**spec, **dict.fromkeys(counts, fields.integer)})
    if not spec.keys() <= values.keys():
        raise invalid("nodeId, duration and description are required")
    with cluster.change():
        now = int(cluster.now())
        cluster.put(Maintenance(values["nodeId"], now, values["duration"], values["description"]))
    return ok(cluster)


@call("POST", "MaintenanceComplete")
def maintenance_complete(cluster: Cluster, request: Request) -> Json:
    node = request.fields(cluster, {"nodeId": fields.natural}).get("nodeId")
    found = cluster.table(Maintenance).get(-1 if node is None else node)
    if found is None:
        raise missing("Maintenance of node", node)
    with cluster.change():
        cluster.drop(found)
    return ok(cluster)


@call("GET", "DisksList")
def disks_list(cluster: Cluster, request: Request) -> dict[str, Json]:
    return {str(disk): _disk(disk, server) for disk, server in zip(show.DISKS, show.SERVERS)}


def _disk(disk: int, server: int) -> Json:
    zeros = (
        "agFull agPartial agFreeing agMaxSizeFull agMaxSizePartial entriesAllocated objectsAllocated"
        " agAllocated objectsOnDiskSize scrubbingStartedBefore scrubbedBytes scrubbingBW scrubbingFinishAfter"
        " scrubbingPausedFor lastScrubCompleted"
    )
    flags = "ssd noFua noFlush noTrim isWbc journaled scrubbingPaused"
    groups = 20480
    return {
        **dict.fromkeys(zeros.split(), 0),
        **dict.fromkeys(flags.split(), False),
        **dict.fromkeys(["agCount", "agFree"], groups),
        **dict.fromkeys(["entriesCount", "entriesFree", "objectsCount", "objectsFree"], groups * 16),
        "id": disk,
        "serverId": server,
        "generationLeft": -1,
        "model": "simulated",
        "serial": f"SIM{disk}",
        "description": "",
        "softEject": "off",
        "sectorsCount": groups << 20,
        "empty": True,
        "device": f"/dev/sd{chr(ord('a') + disk - show.DISKS[0])}",
        "wbc": None,
        "aggregateScore": {"entries": 0, "space": 0, "total": 0},
    }
