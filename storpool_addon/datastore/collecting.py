"""One round of collecting: every cluster is asked once, the pool of VMs is read once, one file is written."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.datastore import clusters, lastround
from storpool_addon.datastore.clusters import Cluster
from storpool_addon.errors import AddonError, StateError
from storpool_addon.monitoring import cache, kept
from storpool_addon.monitoring.cache import CENSUS, DISKS, ROUND, SPACE, Part
from storpool_addon.monitoring.census import Attached, Census
from storpool_addon.monitoring.message import Messages
from storpool_addon.monitoring.monitord import Monitord
from storpool_addon.monitoring.report import Lookup, Rules, Told, told
from storpool_addon.monitoring.sidebyside import Task, carry_out
from storpool_addon.monitoring.sizes import Sizes, Wanted
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.states import VmState
from storpool_addon.opennebula.usage import usages

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_THE_ROUND = (ROUND, "disks")


class Summary(NamedTuple):
    """What a round did. troubles: a line for each thing left out. vms: None when they were not due."""

    clusters: int
    vms: int | None
    unknown: int
    troubles: list[str]

    def __str__(self) -> str:
        disks = (
            "disks are not due yet" if self.vms is None else f"{self.vms} VMs, {self.unknown} sizes unknown"
        )
        return f"{self.clusters} clusters, {disks}, {len(self.troubles)} troubles"


class Round:
    """One round; the parts of the file, as far as they are known."""

    def __init__(self, driver: Driver, *, disks: bool) -> None:
        self._driver = driver
        self._directory = driver.config.sp_fe_json_path
        self._writing = threading.Lock()
        self._parts: dict[cache.Title, Part] = {}
        self._known: frozenset[int] = frozenset()
        self._disks = disks
        self.troubles: list[str] = []

    def run(self) -> Summary:
        """Do it; what fails of it is a trouble, and the rest is done."""
        began = time.monotonic()
        self._remember()
        found, self._known, problems = clusters.of_all_datastores(self._driver)
        self.troubles += problems
        self._disks = self._disks or self._are_due()
        self._forget_others(found)
        self._ask(found)
        for cluster in found:
            self.troubles += [*cluster.troubles, *clusters.tell_datastores(self._driver, cluster)]
        vms, unknown = self._reported(found) if self._disks else (None, 0)
        summary = Summary(len(found), vms, unknown, self.troubles)
        self._keep_last(found, time.monotonic() - began)
        return summary

    def _remember(self) -> None:
        cache.prepare(self._directory)
        try:
            self._parts = cache.read(self._directory)
        except StateError as error:
            self.troubles.append(str(error))

    def _are_due(self) -> bool:
        config, last = self._driver.config, self._parts.get(_THE_ROUND)
        minutes = min(config.sp_volume_space_minutes, config.sp_snapshot_space_minutes)
        return last is None or not last.is_fresh(minutes * 60.0)

    def _forget_others(self, found: list[Cluster]) -> None:
        """Clusters and datastores that are no more; how the last round went is known until this one ends."""
        titles = {(kind, each.title) for kind in (SPACE, CENSUS) for each in found}
        titles |= {_THE_ROUND, cache.LAST}
        titles |= {(DISKS, str(each.id)) for cluster in found for each in cluster.datastores}
        self._parts = {title: part for title, part in self._parts.items() if title in titles}

    def _ask(self, found: list[Cluster]) -> None:
        """All clusters at once; one that does not answer delays no other one's capacity."""
        config = self._driver.config
        wanted = Wanted(f"{config.one_px}-", config.loc_tag, config.loc_tag_val, config.sp_space_used_lvmway)

        def task(cluster: Cluster) -> Task:
            return Task(lambda: self._ask_one(cluster, wanted), cluster.trouble)

        ended = carry_out([task(each) for each in found], config.monitor_collect_seconds)
        for cluster, in_time in zip(found, ended):
            cluster.close(None if in_time else config.monitor_collect_seconds)

    def _ask_one(self, cluster: Cluster, wanted: Wanted) -> None:
        odd: list[AddonError] = []
        found = cluster.api.volume_templates_status(odd.append)
        if odd:
            cluster.trouble(f"{len(odd)} templates are left out: {odd[0]}")
        templates = {each.name: kept.packed(each) for each in found}
        counts = {each.name: kept.counted(each) for each in found}
        cluster.answered = self._keep(SPACE, cluster, Part.now(templates=templates, counts=counts))
        try:
            cluster.templates = {each.name: each for each in cluster.api.volume_templates_list()}
        except AddonError as error:
            cluster.trouble(str(error))
        if self._disks:
            self._count(cluster, wanted)

    def _count(self, cluster: Cluster, wanted: Wanted) -> None:
        """The sizes of all that is ours, and how much of it there is."""
        began, sizes = time.time(), Sizes(wanted)
        attached = self._attached(cluster, wanted.prefix)
        census = Census(wanted, attached or Attached.none(), self._driver.config.deleted_tag)
        cluster.api.read_volumes_space(lambda found: sizes.add(census.volumes(found)))
        cluster.api.read_snapshots_space(lambda found: sizes.add(census.snapshots(found)))
        cluster.have(sizes)
        if attached is not None:
            self._keep(CENSUS, cluster, Part(began, census.content()))

    def _attached(self, cluster: Cluster, prefix: str) -> Attached | None:
        """None when that cannot be told: nobody's sizes depend on it."""
        try:
            return cluster.api.read_attachments_list(lambda found: Attached.read(found, prefix))
        except AddonError as error:
            cluster.trouble(str(error))
            return None

    def _keep(self, kind: str, cluster: Cluster, part: Part) -> bool:
        """Whether that was in time."""
        with self._writing:
            if cluster.closed:
                return False
            self._parts[kind, cluster.title] = part
            cache.write(self._directory, self._parts)
            return True

    def _keep_last(self, found: list[Cluster], took_s: float) -> None:
        """How the round went, for who watches the watching."""
        content = lastround.content(self._driver, found, self.troubles)
        with self._writing:
            self._parts[cache.LAST] = Part.now(**content, took_s=round(took_s, 3))
            cache.write(self._directory, self._parts)

    def _reported(self, found: list[Cluster]) -> tuple[int, int]:
        try:
            return self._report(found)
        except AddonError as error:
            self.troubles.append(f"disks of VMs are left out: {error}")
            return 0, 0

    def _report(self, found: list[Cluster]) -> tuple[int, int]:
        """How many VMs were reported, and how many sizes are not known."""
        config = self._driver.config
        key = Monitord.configured(config, self._driver.environ).key()
        rules = Rules(config.one_px, _lookups(found), config.monitor_vmsnapshots)
        made = {each.id: Messages(key, config.monitor_host_id) for each in _systems(found)}
        began, vms, unknown, lost = time.time(), 0, 0, Counter[int]()
        for each in self._told(rules):
            if isinstance(each, AddonError):
                self.troubles.append(f"left out: {each}")
            elif each.datastore_id in made:
                made[each.datastore_id].add(each.line)
                vms, unknown = vms + 1, unknown + each.unknown
            elif each.datastore_id not in self._known:
                lost[each.datastore_id] += 1
        self.troubles += (
            f"left out: {n} VMs on datastore {gone}, which is not known" for gone, n in lost.items()
        )
        self._keep_disks(made, Part(began, {"key": key.id if key else ""}), [each.sizes for each in found])
        return vms, unknown

    def _keep_disks(self, made: dict[int, Messages], part: Part, sizes: list[Sizes | None]) -> None:
        """Where a silent cluster let nothing be learned, what was known before stays, with its time."""
        with self._writing:
            for datastore_id, messages in made.items():
                packed = messages.packed()
                if packed or None not in sizes:
                    title = (DISKS, str(datastore_id))
                    self._parts[title] = part._replace(content={**part.content, "messages": packed})
            if any(sizes) or None not in sizes:
                self._parts[_THE_ROUND] = part._replace(content={})
            cache.write(self._directory, self._parts)

    def _told(self, rules: Rules) -> Iterator[Told | AddonError]:
        for page in self._driver.one.vm_pages(VmState.ACTIVE):
            yield from told(usages(page), rules)


def _lookups(found: list[Cluster]) -> dict[int, Lookup | None]:
    return {
        datastore.id: cluster.sizes.of if cluster.sizes else None
        for cluster in found
        for datastore in cluster.datastores
    }


def _systems(found: list[Cluster]) -> Iterator[Datastore]:
    for cluster in found:
        yield from (each for each in cluster.datastores if each.is_system)
