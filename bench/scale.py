"""Measures the simulator with a cluster of 100,000 volumes and 200,000 snapshots."""

from __future__ import annotations

from bench.limits import LOAD_S, SINGLE_CALL_MS
from bench.rows import Row
from storpool_addon.simulator.population import measure as measured

NAME = "simulator"


def measure(state_dir: str) -> list[Row]:
    """Seconds to load it, and the medians of calls about a single object."""
    found = measured(state_dir)
    load_s = found.pop("load_s")
    rows = [Row({"name": f"{NAME}/load", "load_s": round(load_s, 2)}, ("load_s",) if load_s > LOAD_S else ())]
    for what, taken_ms in found.items():
        over = ("median_ms",) if taken_ms > SINGLE_CALL_MS else ()
        name = f"{NAME}/{what.removesuffix('_ms')}"
        rows.append(Row({"name": name, "median_ms": round(taken_ms, 2)}, over))
    return rows
