"""Metrics of what the last run of `storpool-addon policies` found."""

from __future__ import annotations

from storpool_addon.monitoring.cache import Part
from storpool_addon.monitoring.metrics.collected import ODD
from storpool_addon.monitoring.metrics.family import About, Families
from storpool_addon.monitoring.policies import CLASS, POLICY

TABLE = {
    "storpool_policies_last_run_timestamp_seconds": About("When the last run over all volumes ended."),
    "storpool_policies_last_run_duration_seconds": About("How long it took."),
    "storpool_policies_changed": About("Volumes and snapshots that it found to be other than they should."),
    "storpool_policies_drift": About(
        "Tags that it found to be other than they should, and set.", ("object", "tag")
    ),
    "storpool_policies_troubles": About("What it could not look at or set; the log has a line for each."),
}


def policies(last: Part | None) -> tuple[Families, list[str]]:
    """The metrics, and what was left out because it is not what `policies` writes."""
    shown = Families(TABLE)
    if last is None:
        return shown, []
    shown.set("storpool_policies_last_run_timestamp_seconds", last.asked)
    try:
        took_s, changed, troubles = (float(last.content[each]) for each in ("took_s", "changed", "troubles"))
        found = {(str(kind), str(tag)): int(count) for kind, tag, count in last.content["tags"]}
    except ODD:
        return shown, ["the last run of policies"]
    shown.set("storpool_policies_last_run_duration_seconds", took_s)
    shown.set("storpool_policies_changed", changed)
    shown.set("storpool_policies_troubles", troubles)
    known = [(kind, tag) for kind in ("volume", "snapshot") for tag in (CLASS, POLICY)]
    for key in dict.fromkeys([*known, *found]):
        shown.set("storpool_policies_drift", found.get(key, 0), *key)
    return shown, []
