"""A cluster of a given size, for tests and benchmarks of what must not depend on size."""

from __future__ import annotations

import json
import socket
import statistics
import time

from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Policy, Volume
from storpool_addon.simulator.simulator import Simulator

_BATCH = 1000


def populate(cluster: Cluster, volumes: int, snapshots: int) -> None:
    """Add volumes `vol-N` and snapshots `snap-N`, the snapshots spread evenly over the volumes."""
    per_volume = snapshots // volumes if volumes else 0
    for first in range(0, volumes, _BATCH):
        with cluster.lock, cluster.change():
            for index in range(first, min(first + _BATCH, volumes)):
                _add_family(cluster, index, per_volume)


def _add_family(cluster: Cluster, index: int, snapshots: int) -> None:
    """One volume under a chain of snapshots."""
    parent = ""
    for step in range(snapshots):
        parent = add(cluster, f"snap-{index * snapshots + step}", parent, snapshot=True)
    add(cluster, f"vol-{index}", parent, snapshot=False)


def add(cluster: Cluster, name: str, parent: str, *, snapshot: bool) -> str:
    """Add one, and return its global id; the cluster's lock is held. parent: a global id, "" for none."""
    number = cluster.next_id()
    gid = cluster.gid(number)
    tags = {"virt": "one", "nloc": "one"}
    made = Volume(
        gid, number, name, 1 << 30, Policy(), int(cluster.now()), parent, tags=tags, snapshot=snapshot
    )
    cluster.put(made)
    return gid


def measure(state_dir: str, volumes: int = 100_000, snapshots: int = 200_000) -> dict[str, float]:
    """Seconds to load a cluster of that size from its state, and medians of single calls in milliseconds."""
    simulator = Simulator(state_dir)
    populate(simulator.cluster, volumes, snapshots)
    simulator.stop()
    start = time.monotonic()
    with Simulator(state_dir, clients={11: "node1"}) as loaded:
        load_s = time.monotonic() - start
        return {"load_s": load_s, **_medians(loaded, volumes)}


def _medians(simulator: Simulator, volumes: int, rounds: int = 200) -> dict[str, float]:
    taken: dict[str, list[float]] = {}
    for index in range(rounds):
        name, made = f"vol-{index * 7919 % volumes}", f"made-{index}"
        for what, path, body in (
            ("volume", f"Volume/{name}", None),
            ("create", "VolumeCreate", {"name": made, "parent": "snap-0"}),
            ("attach", "VolumesReassignWait", {"reassign": [{"volume": made, "rw": [11]}]}),
            ("detach", "VolumesReassignWait", {"reassign": [{"volume": made, "detach": "all"}]}),
            ("delete", f"VolumeDelete/{made}", {}),
        ):
            start = time.monotonic()
            _call(simulator, path, body)
            taken.setdefault(f"{what}_ms", []).append((time.monotonic() - start) * 1000)
    return {what: statistics.median(times) for what, times in taken.items()}


def _call(simulator: Simulator, path: str, body: object) -> None:
    """One API call over a connection of its own, with as little of a client as can be."""
    raw = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} /ctrl/1.0/{path} HTTP/1.0\r\n"
    head += f"Authorization: Storpool v1:{simulator.token}\r\nContent-Length: {len(raw)}\r\n\r\n"
    with socket.create_connection(simulator.endpoint[:2]) as connection:
        connection.sendall(head.encode() + raw)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    if b'"error"' in answer:
        raise RuntimeError(f"{path}: {answer[-200:]!r}")
