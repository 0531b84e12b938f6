"""An embedded StorPool: enough of the management API, and of its devices, to develop and test against."""

from __future__ import annotations

from storpool_addon.simulator.faults import GARBAGE, LOSE, PASS, REFUSE, TRUNCATED, Fault, Moment, Verdict
from storpool_addon.simulator.simulator import Endpoint, Simulator
from storpool_addon.simulator.switches import LEGACY, Switches

__all__ = [
    "GARBAGE",
    "LEGACY",
    "LOSE",
    "PASS",
    "REFUSE",
    "TRUNCATED",
    "Endpoint",
    "Fault",
    "Moment",
    "Simulator",
    "Switches",
    "Verdict",
]
