"""The simulator's own endpoints under /sim/: faults, clock, clients, open devices, log, switches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import parse_qs

from storpool_addon.simulator.faults import Fault
from storpool_addon.simulator.refusal import Refused

if TYPE_CHECKING:
    from storpool_addon.simulator.simulator import Simulator

Reply = tuple[int, Any]


def serve(simulator: Simulator, method: str, what: str, query: str, raw: bytes) -> Reply:
    """Answer a control request: status and JSON; 400 with "error" as text for a wrong one."""
    action = _ACTIONS.get((method, what))
    if action is None:
        known = ", ".join(f"{verb} /sim/{name}" for verb, name in _ACTIONS)
        return 404, {"error": f"no {method} /sim/{what}; there are {known}"}
    try:
        body = json.loads(raw) if raw else {**{name: each[0] for name, each in parse_qs(query).items()}}
        return 200, action(simulator, body)
    except (ValueError, TypeError, KeyError, Refused) as error:
        return 400, {"error": str(error) or repr(error)}


def _faults(simulator: Simulator, body: Any) -> Any:
    return {"faults": simulator.faults.listing()}


def _add_faults(simulator: Simulator, body: Any) -> Any:
    """A fault or a list of faults, added to those that are set."""
    simulator.faults.add([Fault.parse(each) for each in (body if isinstance(body, list) else [body])])
    return _faults(simulator, body)


def _clear_faults(simulator: Simulator, body: Any) -> Any:
    simulator.faults.set([])
    return _faults(simulator, body)


def _log(simulator: Simulator, body: Any) -> Any:
    """The requests after number `since`."""
    since = int(body.get("since", 0))
    return {"requests": [each._asdict() for each in simulator.requests if each.number > since]}


def _clear_log(simulator: Simulator, body: Any) -> Any:
    simulator.requests.clear()
    return {"requests": []}


def _clock(simulator: Simulator, body: Any) -> Any:
    return {"now": simulator.cluster.now()}


def _move_clock(simulator: Simulator, body: Any) -> Any:
    """{"advance": seconds} or {"set": unix seconds}."""
    step = float(body["advance"]) if "advance" in body else float(body["set"]) - simulator.cluster.now()
    simulator.advance(step)
    return _clock(simulator, body)


def _clients(simulator: Simulator, body: Any) -> Any:
    return {"clients": [each._asdict() for each in simulator.cluster.clients().values()]}


def _set_client(simulator: Simulator, body: Any) -> Any:
    """{"id": 11, "status": "down", "running" or "updating"}, and a name for a new one."""
    if body.get("status", "running") not in ("down", "running", "updating"):
        raise ValueError("status must be down, running or updating")
    simulator.set_client(int(body["id"]), body.get("status", "running"), body.get("name"))
    return _clients(simulator, body)


def _open(simulator: Simulator, body: Any) -> Any:
    """{"client": 11, "volume": NAME, "open": true or false}: a device that somebody uses."""
    simulator.mark_open(int(body["client"]), str(body["volume"]), bool(body.get("open", True)))
    return {"open": sorted(simulator.cluster.opened)}


def _switches(simulator: Simulator, body: Any) -> Any:
    return simulator.switches._asdict()


def _set_switches(simulator: Simulator, body: Any) -> Any:
    simulator.switches = simulator.switches.set(body)
    return _switches(simulator, body)


_ACTIONS: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "log"): _log,
    ("DELETE", "log"): _clear_log,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _move_clock,
    ("GET", "clients"): _clients,
    ("POST", "clients"): _set_client,
    ("POST", "open"): _open,
    ("GET", "switches"): _switches,
    ("POST", "switches"): _set_switches,
}
