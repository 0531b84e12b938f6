"""A StorPool cluster in one object: state, data, devices and the API server around them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Callable, NamedTuple

from storpool_addon.simulator import multicluster
from storpool_addon.simulator.calls import Call, Request, find
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.datafiles import DataFiles
from storpool_addon.simulator.devices import Backend, Devices, Files
from storpool_addon.simulator.faults import PASS, Fault, Faults, Moment, Verdict
from storpool_addon.simulator.journal import Journal
from storpool_addon.simulator.lifetime import sweep
from storpool_addon.simulator.records import Client, Group, Location, Policy, Template
from storpool_addon.simulator.refusal import Refused, invalid, missing
from storpool_addon.simulator.server import Answer, Exchange, Server, serve_in_thread
from storpool_addon.simulator.switches import Switches

TOKEN = "1556129910218014736"  # the token of StorPool's own examples
Gate = Callable[[Moment], "Verdict | None"]
_LOG_LENGTH = 100_000


class Endpoint(NamedTuple):
    """Where the API is."""

    host: str
    port: int
    token: str


class Logged(NamedTuple):
    """A request that was served. error: the error's name or "". fate: what became of the answer."""

    number: int
    time: float
    method: str
    path: str
    query: str
    args: tuple[str, ...]
    body: Any
    status: int
    error: str
    fate: str
    seconds: float


class Route(NamedTuple):
    """Which call, with which arguments, on which cluster; `clusters` when it goes to all of them."""

    call: Call
    args: tuple[str, ...]
    multicluster: bool
    cluster: Cluster
    clusters: Mapping[str, Cluster] = {}


class Simulator:
    """Serves one simulated cluster; also a context manager.

    state_dir: where everything is kept. dev_dir: where device links appear, see `Devices`; with several
    clients and no "{client}" in it, DIR/CLIENT/storpool. devices: "file" or "loop". clients: id to name.
    templates: names of templates that must exist. gate: asked before and after each API call, before
    the faults. detect_open: look for processes that have a device open; by default only with loop.
    """

    def __init__(
        self,
        state_dir: str | os.PathLike[str],
        *,
        dev_dir: str | os.PathLike[str] | None = None,
        devices: str = "file",
        clients: Mapping[int, str] | None = None,
        templates: Iterable[str] = (),
        switches: Switches = Switches(),  # noqa: B008  immutable
        clock: Callable[[], float] = time.time,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        token: str = TOKEN,
        cluster_id: str = "d.n",
        name: str = "",
        faults: Iterable[Fault] = (),
        gate: Gate | None = None,
        detect_open: bool | None = None,
    ) -> None:
        backend = _backend(devices, detect_open)
        self.state_dir = os.path.abspath(state_dir)
        self.token = token
        self.listen = listen
        self.gate = gate
        self.faults = Faults()
        self.faults.set(list(faults))
        self.requests: list[Logged] = []
        self.stopping = threading.Event()
        self._number = 0
        self._server: Server | None = None
        data = DataFiles(os.path.join(self.state_dir, "data"))
        journal = Journal(os.path.join(self.state_dir, "journal"))
        self.cluster = Cluster(
            data, journal=journal, cluster_id=cluster_id, name=name, switches=switches, clock=clock
        )
        self.cluster.data.keep_only(each for each, count in self.cluster.sharers.items() if count > 0)
        self._furnish(clients or {}, templates)
        pattern = _pattern(str(dev_dir or os.path.join(self.state_dir, "dev")), len(self.cluster.clients()))
        self.devices = Devices(self.cluster, backend, pattern)

    def _furnish(self, clients: Mapping[int, str], templates: Iterable[str]) -> None:
        """What is asked for and not there yet."""
        cluster = self.cluster
        known = {each.name for each in cluster.table(Template).values()}
        with cluster.change():
            for index, group in enumerate(("default", "hdd", "ssd")):
                if group not in cluster.table(Group):
                    cluster.put(Group(index + 1, group, [101, 102, 103]))
            for number, name in clients.items():
                if cluster.clients().get(number, Client(0, "")).name != name:
                    cluster.put(Client(number, name, started=int(cluster.now())))
            for name in templates:
                if name not in known:
                    cluster.put(Template(len(cluster.table(Template)) + 1, name, Policy()))

    # Life

    def start(self) -> Simulator:
        """Make the devices and serve in a thread."""
        self.stopping.clear()
        self.cluster.closed = False
        with self.cluster.lock:
            self.devices.start()
        self._server = Server(self.listen, self)
        self.listen = (self.listen[0], self._server.server_address[1])
        self._thread = serve_in_thread(self._server)
        return self

    def stop(self) -> None:
        """Stop serving, remove the devices, close the state."""
        self.stopping.set()
        with self.cluster.lock:
            self.cluster.closed = True
            self.cluster.lock.notify_all()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            self._thread.join()
            with self.cluster.lock:
                self.devices.stop()
        if self.cluster.journal:
            self.cluster.journal.close()

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> Endpoint:
        """Where the API is; the port is known once it was started."""
        return Endpoint(self.listen[0], self.listen[1], self.token)

    @property
    def switches(self) -> Switches:
        """The switches; assigning changes them at once."""
        return self.cluster.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        with self.cluster.lock:
            self.cluster.switches = switches

    # The world around the API

    def connect(self, other: Simulator, *, location: str, known_as: str) -> None:
        """Make two clusters locations of each other: `location` is the other's name here."""
        other.cluster.lock = self.cluster.lock
        here, there = self.cluster, other.cluster
        for cluster, name, remote in ((here, location, there), (there, known_as, here)):
            cluster.linked[name] = remote
            if name not in cluster.table(Location):
                with cluster.change():
                    cluster.put(Location(remote.cluster_id.split(".")[0], name))

    def federate(self, other: Simulator) -> None:
        """Make two clusters a multicluster; each finds the other's objects by their global ids."""
        multicluster.federate(self.cluster, other.cluster)

    def advance(self, seconds: float) -> None:
        """Move the cluster's clock, and let happen what is due then."""
        with self.cluster.lock:
            with self.cluster.change():
                counters = self.cluster.counters
                self.cluster.put(counters._replace(clock_offset=counters.clock_offset + seconds))
            sweep(self.cluster)

    def set_client(self, number: int, status: str, name: str | None = None) -> None:
        """Register a client, or let one go down or come up; "updating": up, but late to apply changes."""
        with self.cluster.lock, self.cluster.change():
            seen = self.cluster.generation
            old = self.cluster.clients().get(number) or Client(number, name or f"client{number}")
            self.cluster.put(old._replace(status=status, name=name or old.name, generation=seen))
            multicluster.follow_client(self.cluster, number, status)

    def mark_open(self, client: int, reference: str, is_open: bool = True) -> None:
        """Say that a device is in use on a client, or no longer."""
        with self.cluster.lock:
            found = self.cluster.find(reference)
            if found is None:
                raise missing("Volume", reference)
            (self.cluster.opened.add if is_open else self.cluster.opened.discard)((client, found.gid))

    # Serving

    def next_number(self) -> int:
        """The number of the next API call."""
        with self.cluster.lock:
            self._number += 1
            return self._number

    def judge(self, moment: Moment) -> Verdict:
        """What the gate and the faults say to a call."""
        verdict = self.gate(moment) if self.gate else None
        return verdict or self.faults.gate(moment) or PASS

    def route(self, method: str, parts: list[str]) -> Route:
        """Find the call behind [RemoteCommand/CLUSTER/][MultiCluster/[AllClusters/]]QUERY[/ARG...]."""
        cluster, clusters, multicluster = self.cluster, {}, False
        if parts[0] == "RemoteCommand" and len(parts) > 2:
            cluster, parts = self._remote(parts[1]), parts[2:]
        if parts[0] == "MultiCluster" and len(parts) > 1:
            multicluster, parts = True, parts[1:]
            if parts[0] == "AllClusters" and len(parts) > 1:
                clusters, parts = {cluster.name: cluster, **cluster.linked}, parts[1:]
        call, args = find(method, parts)
        if multicluster and not clusters and not call.multicluster:
            raise invalid(f"{call.query} is not a multicluster query")
        return Route(call, args, multicluster, cluster, clusters)

    def _remote(self, name: str) -> Cluster:
        for known, cluster in {self.cluster.name: self.cluster, **self.cluster.linked}.items():
            if name in (known, f"~{cluster.cluster_id}"):
                return cluster
        raise missing("Cluster", name)

    def perform(self, route: Route, body: Any) -> tuple[Any, int]:
        """Carry a call out: its data, and the generation after it."""
        request = Request(route.call.query, route.args, body, route.multicluster)
        with self.cluster.lock:
            if route.clusters:
                answers = [_answer(each, route.call, request) for each in route.clusters.values()]
                return {"clusters": answers}, self.cluster.generation
            for each in (route.cluster, *route.cluster.federated.values()):
                sweep(each)
            if route.multicluster and route.cluster.federated:
                data = multicluster.perform(route.cluster, route.call, request)
            else:
                data = route.call.run(route.cluster, request)
            return data, route.cluster.generation

    def record(self, exchange: Exchange, answer: Answer, seconds: float) -> None:
        """Log a request; never the token."""
        error = answer.body.get("error", {}).get("name", "") if answer.body else ""
        moment = exchange.moment
        self.requests.append(
            Logged(
                exchange.number,
                self.cluster.clock(),
                exchange.method,
                exchange.path,
                moment.query,
                moment.args,
                moment.body,
                answer.status,
                error,
                exchange.wire.kind,
                seconds,
            )
        )
        del self.requests[:-_LOG_LENGTH]


def _answer(cluster: Cluster, call: Call, request: Request) -> dict[str, Any]:
    try:
        data = call.run(cluster, request)
    except Refused as error:
        return {"error": {"name": error.name, "descr": error.descr, "transient": error.transient}}
    return {"response": {"generation": cluster.generation, "data": data}}


def _pattern(directory: str, clients: int) -> str:
    directory = os.path.abspath(directory)
    if "{" in directory or clients <= 1:
        return directory
    return os.path.join(directory, "{client}", "storpool")


def _backend(devices: str, detect_open: bool | None) -> Backend:
    if devices == "file":
        return Files(detect_open=bool(detect_open))
    if devices == "loop":
        from storpool_addon.simulator.loops import Loops

        if not os.access("/dev/loop-control", os.R_OK | os.W_OK):
            raise ValueError("loop devices need root and /dev/loop-control; use file")
        return Loops(detect_open=detect_open is not False)
    raise ValueError(f"devices: {devices} is neither file nor loop")
