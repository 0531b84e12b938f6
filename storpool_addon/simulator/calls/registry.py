"""How an API call is declared, found and answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.fields import Check, read
from storpool_addon.simulator.refusal import invalid


class Request(NamedTuple):
    """One API call: the arguments of its path, its JSON argument, whether it came as MultiCluster/."""

    query: str
    args: tuple[str, ...] = ()
    body: Any = None
    multicluster: bool = False

    def fields(self, cluster: Cluster, spec: Mapping[str, Check]) -> dict[str, Any]:
        """The members of the body, checked and typed."""
        return read(self.body, spec, cluster.switches)


Run = Callable[[Cluster, Request], Any]


class Call(NamedTuple):
    """A call that the server knows. arity: how many arguments its path has."""

    method: str
    query: str
    arity: int
    multicluster: bool
    run: Run


CALLS: dict[tuple[str, str], Call] = {}


def call(method: str, path: str, *, multicluster: bool = False) -> Callable[[Run], Run]:
    """Declare the function of a call. path: the query and its arguments, "Volume/{volume}"."""
    parts = path.split("/")
    query = "/".join(each for each in parts if not each.startswith("{"))

    def register(run: Run) -> Run:
        arity = sum(each.startswith("{") for each in parts)
        CALLS[method, query] = Call(method, query, arity, multicluster, run)
        return run

    return register


def find(method: str, parts: list[str]) -> tuple[Call, tuple[str, ...]]:
    """The call for a path's parts, and its arguments; Refused when there is none."""
    for length in (2, 1):
        found = CALLS.get((method, "/".join(parts[:length])))
        if found and len(parts) - length == found.arity and all(parts[length:]):
            return found, tuple(parts[length:])
    raise invalid(f"Unknown query {method} {'/'.join(parts)}")


def ok(cluster: Cluster, **extra: Any) -> dict[str, Any]:
    """The answer of a call that changes something; members that are None are left out."""
    present = {name: value for name, value in extra.items() if value is not None}
    return {"ok": True, "generation": cluster.generation, **present}
