"""Metrics of what the driver's processes did on this front-end: actions, calls, failures, repeats, times."""

from __future__ import annotations

from storpool_addon.monitoring.metrics.family import COUNTER, HISTOGRAM, About, Families, Histogram
from storpool_addon.monitoring.totals import Spread, Totals
from storpool_addon.tally import ACTION_BOUNDS, CALL_BOUNDS, OUTCOMES

TABLE = {
    "storpool_driver_actions_total": About(
        "Runs of a script or command, by how they ended.", ("action", "outcome"), COUNTER
    ),
    "storpool_driver_action_duration_seconds": About(
        "From the start of a process to its end.", ("action",), HISTOGRAM
    ),
    "storpool_driver_action_retries_total": About(
        "Calls to the outside that it made again.", ("action",), COUNTER
    ),
    "storpool_driver_call_duration_seconds": About(
        "Calls to StorPool, oned and hosts, with all repeats.", ("call",), HISTOGRAM
    ),
    "storpool_driver_call_failures_total": About("Calls that got no usable answer.", ("call",), COUNTER),
    "storpool_driver_call_refusals_total": About(
        "Calls that were answered with no, which may be what was expected.", ("call",), COUNTER
    ),
    "storpool_driver_call_retries_total": About("Calls that were made again.", ("call",), COUNTER),
    "storpool_driver_spool_losses_total": About(
        "Lines about actions that could not be read, and times that the spool was full.", ("reason",), COUNTER
    ),
    "storpool_driver_counted_since_timestamp_seconds": About("When counting of all this began."),
}


def driver(totals: Totals) -> Families:
    """The metrics."""
    shown = Families(TABLE)
    shown.set("storpool_driver_counted_since_timestamp_seconds", totals.since)
    durations: dict[str, Spread] = {}
    for (action, outcome), spread in totals.actions.items():
        if action not in durations:
            # A counter that begins with its first event never rises: what did not happen is told too.
            for each in OUTCOMES:
                shown.set("storpool_driver_actions_total", 0, action, each)
        shown.set("storpool_driver_actions_total", sum(spread.counts), action, outcome)
        durations[action] = durations[action].plus(spread) if action in durations else spread
    for action, spread in durations.items():
        shown.set("storpool_driver_action_duration_seconds", _histogram(spread, ACTION_BOUNDS), action)
        shown.set("storpool_driver_action_retries_total", totals.retries.get(action, 0), action)
    for name, calls in totals.calls.items():
        shown.set("storpool_driver_call_duration_seconds", _histogram(calls.spread, CALL_BOUNDS), name)
        shown.set("storpool_driver_call_failures_total", calls.failures, name)
        shown.set("storpool_driver_call_refusals_total", calls.refusals, name)
        shown.set("storpool_driver_call_retries_total", calls.retries, name)
    for reason, count in totals.losses.items():
        shown.set("storpool_driver_spool_losses_total", count, reason)
    return shown


def _histogram(spread: Spread, bounds: tuple[float, ...]) -> Histogram:
    """Counts of single classes become those of all up to a bound."""
    buckets, seen = [], 0
    for bound, count in zip((*map(str, bounds), "+Inf"), spread.counts):
        seen += count
        buckets.append((bound, float(seen)))
    return Histogram(buckets, spread.seconds)
