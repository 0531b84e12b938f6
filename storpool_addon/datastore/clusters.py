"""The StorPool clusters that datastores are on, and what datastores are told about their templates."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import AddonError
from storpool_addon.monitoring.kept import identity
from storpool_addon.monitoring.sizes import Sizes
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.vm import TM_MAD
from storpool_addon.storpool import Api, Template

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_READY = 0
# StorPool's word for no limit; an attribute that is not there says the same.
_NONE = "-"


class Cluster:
    """One API, and what it answered in this round. A thread fills it; after `close` nothing changes."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.title = identity(api)
        self.datastores: list[Datastore] = []
        self.is_wanted = False
        self.templates: Mapping[str, Template] | None = None
        self.sizes: Sizes | None = None
        self.answered = False
        self.troubles: list[str] = []
        self.closed = False
        self._lock = threading.Lock()

    def have(self, sizes: Sizes) -> None:
        """Both lists have arrived."""
        with self._lock:
            if self.closed:
                return
            self.sizes = sizes
            if sizes.odd:
                self.troubles.append(f"{self.title}: {sizes.odd} entries are not what StorPool sends")

    def trouble(self, text: str) -> None:
        """The cluster could not be asked."""
        with self._lock:
            if not self.closed:
                self.troubles.append(f"{self.title}: {text}")

    def close(self, waited_s: float | None) -> None:
        """Whatever comes later is too late. waited_s: for what has not come, None when all has."""
        with self._lock:
            self.closed = True
            if waited_s is not None:
                self.troubles.append(f"{self.title}: not answered in {waited_s:g} s; what it has is left out")


def of_all_datastores(driver: Driver) -> tuple[list[Cluster], frozenset[int], list[str]]:
    """The clusters of this driver's datastores, the ids of all datastores, and what is wrong with some.

    A cluster of which all datastores have SP_SKIP_MONITOR is left out.
    """
    found: dict[str, Cluster] = {}
    known: set[int] = set()
    troubles: list[str] = []
    for each in driver.one.datastore_pool():
        if isinstance(each, AddonError):
            troubles.append(f"left out: {each}")
            continue
        known.add(each.id)
        if each.tm_mad == TM_MAD:
            try:
                cluster = Cluster(driver.storpool(each))
                is_wanted = not driver.config.for_datastore(each).sp_skip_monitor
            except AddonError as error:
                troubles.append(f"datastore {each.id} is left out: {error}")
            else:
                cluster = found.setdefault(cluster.title, cluster)
                cluster.datastores.append(each)
                cluster.is_wanted |= is_wanted
    return [each for each in found.values() if each.is_wanted], frozenset(known), troubles


def tell_datastores(driver: Driver, cluster: Cluster) -> Iterator[str]:
    """Let attributes of datastores say what their templates are like; what went wrong with that."""
    for datastore in cluster.datastores if cluster.templates is not None else ():
        try:
            config = driver.config.for_datastore(datastore)
            if datastore.state != _READY or config.sp_skip_monitor:
                continue
            name = names.template(config.one_px, datastore.id)
            template = (cluster.templates or {}).get(name)
            if template is None:
                yield f"StorPool lists no template {name}; create it for datastore {datastore.id}"
                continue
            changed = {
                key: text
                for key, text in _attributes(template).items()
                if (datastore.attribute(key) or _NONE) != text
            }
            if changed:
                driver.one.update("datastore", datastore.id, changed)
        except AddonError as error:
            yield f"datastore {datastore.id} was not told about its template: {error}"


def _attributes(template: Template) -> dict[str, str]:
    """As the bash addon names them; oned would refuse an empty one."""
    values = {
        "SP_REPLICATION": template.replication,
        "SP_PLACEALL": template.place_all,
        "SP_PLACETAIL": template.place_tail,
        "SP_PLACEHEAD": template.place_head,
        "SP_IOPS": template.iops,
        "SP_BW": template.bw,
    }
    return {key: str(value) if value not in (None, "") else _NONE for key, value in values.items()}
