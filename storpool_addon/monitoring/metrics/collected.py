"""Metrics of what `storpool-addon collect` keeps: clusters, datastores, volumes, who has them attached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from storpool_addon import names
from storpool_addon.config import Config
from storpool_addon.errors import AddonError
from storpool_addon.monitoring import kept
from storpool_addon.monitoring.cache import CENSUS, LAST, SPACE, Part, Title
from storpool_addon.monitoring.census import ATTACHED, DELETED, DETACHED, HALF, KEPT
from storpool_addon.monitoring.metrics.family import About, Families

_DATASTORE = ("datastore", "name")
TABLE = {
    "storpool_collect_last_run_timestamp_seconds": About("When the last round of collecting ended."),
    "storpool_collect_last_run_duration_seconds": About("How long it took."),
    "storpool_collect_troubles": About("What the last round could not do; the log has a line for each."),
    "storpool_endpoint_up": About("Whether StorPool's API answered the last round.", ("endpoint",)),
    "storpool_endpoint_last_answer_timestamp_seconds": About(
        "When the capacity that is shown was asked for.", ("endpoint",)
    ),
    "storpool_endpoint_last_count_timestamp_seconds": About(
        "When volumes, snapshots and attachments were counted.", ("endpoint",)
    ),
    "storpool_endpoint_stale": About(
        "Whether `monitor` and this exporter leave out what was collected, because it is too old.",
        ("endpoint", "what"),
    ),
    "storpool_datastore_info": About("A datastore of this driver.", (*_DATASTORE, "type", "endpoint")),
    "storpool_datastore_capacity_bytes": About("What it can hold, as OpenNebula has it.", _DATASTORE),
    "storpool_datastore_used_bytes": About("What of that is used.", _DATASTORE),
    "storpool_datastore_free_bytes": About(
        "What of that is free; datastores that share disks share it too.", _DATASTORE
    ),
    "storpool_datastore_provisioned_bytes": About(
        "Sizes of all volumes and snapshots in its template.", _DATASTORE
    ),
    "storpool_datastore_volumes": About("Volumes of this driver.", (*_DATASTORE, "state")),
    "storpool_datastore_snapshots": About(
        "Snapshots of this driver; the deleted are disks that delayed delete keeps.", (*_DATASTORE, "state")
    ),
    "storpool_datastore_snapshots_removing": About(
        "Snapshots of the template whose data StorPool is still removing.", _DATASTORE
    ),
    "storpool_datastore_pending_delete_bytes": About(
        "What StorPool gets back when delayed delete lets go of its disks, at least.", _DATASTORE
    ),
    "storpool_client_attachments": About(
        "Volumes and snapshots of this driver that a StorPool client has attached.",
        ("endpoint", "cluster", "client", "host", "rights"),
    ),
    "storpool_fenced_hosts": About("How many hosts have nothing attached to them until they are lifted."),
    "storpool_host_fenced": About("Such a host.", ("host",)),
}
_STATES = {"volumes": (ATTACHED, DETACHED, HALF), "snapshots": (KEPT, DELETED)}
# What a part is that another release has written, or that somebody has edited.
ODD = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
_TIMES = {SPACE: "answer_timestamp_seconds", CENSUS: "count_timestamp_seconds"}
# Datastore of what is in no template of ours.
_ELSEWHERE = ("", "")


class Rules(NamedTuple):
    """px: ONE_PX. alt_stats: as `monitor` counts. capacity_s, counted_s: what is older is left out."""

    px: str
    alt_stats: bool
    capacity_s: float
    counted_s: float

    @classmethod
    def configured(cls, config: Config) -> Rules:
        """As `monitor` has them."""
        counted_s = config.sp_volume_space_minutes * 60.0 + kept.GRACE_S
        return cls(config.one_px, config.alt_stats, config.sp_template_status_minutes * 60.0, counted_s)


class Cluster(NamedTuple):
    """A cluster in the last round. stores: id and name of datastores by template. hosts: names by client."""

    title: str
    up: bool
    stores: dict[str, tuple[str, str]]
    kinds: dict[str, str]
    hosts: dict[tuple[str, int], str]

    @classmethod
    def read(cls, title: str, content: Mapping[str, Any], px: str) -> Cluster:
        """Out of the part about the last round."""
        stores, kinds = {}, {}
        for number, (name, kind) in content["datastores"].items():
            stores[names.template(px, int(number))] = (number, str(name))
            kinds[number] = str(kind)
        hosts = {(cluster, client): name for cluster, client, name in _rows(content["hosts"], str, int, str)}
        return cls(title, content["up"] is True, stores, kinds, hosts)


def collected(parts: Mapping[Title, Part], rules: Rules) -> tuple[Families, list[str]]:
    """The metrics, and what was left out because it is not what `collect` writes."""
    shown, odd = Families(TABLE), list[str]()
    for cluster in _clusters(shown, parts.get(LAST), rules, odd):
        for kind, what, show, most_s in (
            (SPACE, "capacity", _space, rules.capacity_s),
            (CENSUS, "count", _census, rules.counted_s),
        ):
            part = parts.get((kind, cluster.title))
            fresh = part is not None and part.is_fresh(most_s)
            shown.set("storpool_endpoint_stale", not fresh, cluster.title, what)
            try:
                if part is not None:
                    shown.set(f"storpool_endpoint_last_{_TIMES[kind]}", part.asked, cluster.title)
                    if fresh:
                        show(shown, cluster, part.content, rules)
            except ODD:
                odd.append(f"{what} of {cluster.title}")
    return shown, odd


def _clusters(shown: Families, last: Part | None, rules: Rules, odd: list[str]) -> list[Cluster]:
    """What the last round says, and the clusters it knew."""
    if last is None:
        return []
    shown.set("storpool_collect_last_run_timestamp_seconds", last.asked)
    try:
        found = [Cluster.read(title, each, rules.px) for title, each in last.content["clusters"].items()]
        fenced = last.content["fenced"]
        fenced = None if fenced is None else [*map(str, fenced)]
        took_s, troubles = float(last.content["took_s"]), int(last.content["troubles"])
    except (*ODD, AddonError):
        odd.append("the last round")
        return []
    shown.set("storpool_collect_last_run_duration_seconds", took_s)
    shown.set("storpool_collect_troubles", troubles)
    if fenced is not None and last.is_fresh(rules.capacity_s):
        shown.set("storpool_fenced_hosts", len(fenced))
        for host in fenced:
            shown.set("storpool_host_fenced", 1, host)
    for cluster in found:
        if last.is_fresh(rules.capacity_s):
            shown.set("storpool_endpoint_up", cluster.up, cluster.title)
        for number, name in cluster.stores.values():
            shown.set("storpool_datastore_info", 1, number, name, cluster.kinds[number], cluster.title)
    return found


def _space(shown: Families, cluster: Cluster, content: Mapping[str, Any], rules: Rules) -> None:
    for template, store in cluster.stores.items():
        status = kept.status(content["templates"].get(template), template)
        held = kept.held(status, rules.alt_stats) if status else None
        if held is not None:
            for word, value in zip(("used", "capacity", "free"), held):
                shown.set(f"storpool_datastore_{word}_bytes", value, *store)
        counts = content["counts"].get(template)
        if counts is not None:
            ((provisioned, removing),) = _rows([counts], int, int)
            shown.set("storpool_datastore_provisioned_bytes", provisioned, *store)
            shown.set("storpool_datastore_snapshots_removing", removing, *store)


def _census(shown: Families, cluster: Cluster, content: Mapping[str, Any], _: Rules) -> None:
    found = {word: _rows(content[word], str, str, int) for word in _STATES}
    freed, attachments = _rows(content["freed"], str, int), _rows(content["attachments"], str, int, str, int)
    for word, states in _STATES.items():
        counts = {(store, state): 0 for store in cluster.stores.values() for state in states}
        for template, state, count in found[word]:
            key = (cluster.stores.get(template, _ELSEWHERE), state)
            counts[key] = counts.get(key, 0) + count
        for (store, state), count in counts.items():
            shown.set(f"storpool_datastore_{word}", count, *store, state)
    for template, store in cluster.stores.items():
        shown.set("storpool_datastore_pending_delete_bytes", dict(freed).get(template, 0), *store)
    for where, client, rights, count in attachments:
        host = cluster.hosts.get((where, client), "")
        shown.set("storpool_client_attachments", count, cluster.title, where, str(client), host, rights)


def _rows(value: Any, *kinds: type) -> list[Any]:
    """Rows of words and numbers; TypeError when they are others."""
    for row in value:
        if tuple(map(type, row)) != kinds:
            raise TypeError(f"a row that is not of {kinds}")
    return list(map(tuple, value))
