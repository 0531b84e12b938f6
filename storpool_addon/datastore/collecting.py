"""One round of collecting: every cluster is asked once, the pool of VMs is read once, one file is written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.datastore import clusters, lastround
from storpool_addon.datastore.book import Book
from storpool_addon.datastore.clusters import Cluster
from storpool_addon.errors import AddonError
from storpool_addon.monitoring import kept
from storpool_addon.monitoring.cache import CENSUS, SPACE, Part
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
    """One round. troubles: so far, a line for each thing left out."""

    def __init__(self, driver: Driver, *, disks: bool) -> None:
        self._driver = driver
        self._book = Book(driver.config.sp_fe_json_path)
        self._known: frozenset[int] = frozenset()
        self._disks = disks
        self.troubles: list[str] = []

    def run(self) -> Summary:
        """Do it; what fails of it is a trouble, and the rest is done."""
        began = time.monotonic()
        self.troubles += filter(None, [self._book.remember()])
        found, self._known, problems = clusters.of_all_datastores(self._driver)
        self.troubles += problems
        config = self._driver.config
        minutes = min(config.sp_volume_space_minutes, config.sp_snapshot_space_minutes)
        self._disks = self._disks or self._book.are_disks_due(minutes)
        self._book.forget_others(found)
        self._ask(found)
        for cluster in found:
            self.troubles += [*cluster.troubles, *clusters.tell_datastores(self._driver, cluster)]
        vms, unknown = self._reported(found) if self._disks else (None, 0)
        summary = Summary(len(found), vms, unknown, self.troubles)
        content = lastround.content(self._driver, found, self.troubles)
        self._book.keep_last({**content, "took_s": round(time.monotonic() - began, 3)})
        return summary

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
        cluster.answered = self._book.keep(SPACE, cluster, Part.now(templates=templates, counts=counts))
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
            self._book.keep(CENSUS, cluster, Part(began, census.content()))

    def _attached(self, cluster: Cluster, prefix: str) -> Attached | None:
        """None when that cannot be told: nobody's sizes depend on it."""
        try:
            return cluster.api.read_attachments_list(lambda found: Attached.read(found, prefix))
        except AddonError as error:
            cluster.trouble(str(error))
            return None

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
        self._book.keep_disks(made, Part(began, {"key": key.id if key else ""}), found)
        return vms, unknown

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
