"""One answer to Prometheus: everything that is known at this moment, read from files of this front-end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Callable

from storpool_addon import __version__
from storpool_addon.config import Config
from storpool_addon.datastore import leader
from storpool_addon.driver import Driver
from storpool_addon.errors import AddonError
from storpool_addon.log import Log
from storpool_addon.monitoring import cache
from storpool_addon.monitoring.metrics.collected import Rules, collected
from storpool_addon.monitoring.metrics.driver import driver as of_driver
from storpool_addon.monitoring.metrics.family import COUNTER, HISTOGRAM, About, Families, Family, Histogram
from storpool_addon.monitoring.metrics.policies import policies
from storpool_addon.monitoring.spool import Spool

if TYPE_CHECKING:
    from prometheus_client.core import Metric

TABLE = {
    "storpool_addon_info": About("The release of the driver.", ("version",)),
    "storpool_addon_leader": About(
        "Whether this front-end leads its zone, and so collects and sets policies."
    ),
    "storpool_addon_up": About("Whether what this exporter shows could be read.", ("source",)),
}
_LOOK_EVERY_S = 30.0
# oned is asked for up to a minute, and then the answer is no news.
_OLD_S = 150.0


class Leading:
    """Whether this front-end leads, asked beside the scrapes: oned may be slow, or away."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._known: tuple[float, bool] | None = None

    def look(self) -> None:
        """Ask now."""
        try:
            # What is configured may have changed.
            with Driver(self._driver.environ, self._driver.log) as fresh:
                self._known = time.monotonic(), leader.is_here(fresh)
        except AddonError as error:
            self._driver.log(f"it is not known whether this front-end leads: {error}")

    def watch(self) -> None:
        """Ask for ever."""
        while True:
            self.look()
            time.sleep(_LOOK_EVERY_S)

    def now(self) -> bool | None:
        """None when it is not known."""
        known = self._known
        return known[1] if known and time.monotonic() - known[0] < _OLD_S else None


class Scrape:
    """A collector as prometheus_client takes them."""

    def __init__(self, config: Config, spool: str, log: Log, leading: Leading) -> None:
        self._config = config
        self._spool = Spool(spool)
        self._log = log
        self._leading = leading
        self._said: dict[str, str] = {}
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """All metrics; of what cannot be read, that."""
        with self._lock:
            found = [*self._families()]
        for each in found:
            yield _metric(each)

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered costs no look at anything."""
        return ()

    def _families(self) -> Iterator[Family]:
        own = Families(TABLE)
        own.set("storpool_addon_info", 1, __version__)
        leads = self._leading.now()
        if leads is not None:
            own.set("storpool_addon_leader", leads)
        for source, read in self._sources().items():
            try:
                shown, wrong = read()
            except AddonError as error:
                shown, wrong = None, [str(error)]
            except Exception as error:
                shown, wrong = (
                    None,
                    [f"a bug of the driver ({type(error).__name__}: {error}); please report it"],
                )
            self._say(source, "; ".join(wrong))
            if shown is not None:
                yield from shown
            if wrong or shown is not None:
                own.set("storpool_addon_up", not wrong, source)
        yield from own

    def _sources(self) -> dict[str, Callable[[], tuple[Families | None, list[str]]]]:
        return {"collected": self._collected, "policies": self._policies, "actions": self._actions}

    def _collected(self) -> tuple[Families | None, list[str]]:
        parts = cache.read(self._config.sp_fe_json_path, without=cache.DISKS)
        return collected(parts, Rules.configured(self._config)) if parts else (None, [])

    def _policies(self) -> tuple[Families | None, list[str]]:
        parts = cache.read(self._config.sp_fe_json_path, name=cache.POLICIES)
        return policies(parts.get(cache.LAST)) if parts else (None, [])

    def _actions(self) -> tuple[Families | None, list[str]]:
        totals = self._spool.totals()
        return of_driver(totals), [self._spool.trouble] if self._spool.trouble else []

    def _say(self, source: str, trouble: str) -> None:
        """What is wrong goes to the log once, and not with each scrape."""
        if trouble and self._said.get(source) != trouble:
            self._log(trouble)
        self._said[source] = trouble


def _metric(family: Family) -> Metric:
    """As prometheus_client writes it."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    name, about, samples = family
    if about.kind == HISTOGRAM:
        made = HistogramMetricFamily(name, about.text, labels=about.labels)
        for labels, value in samples.items():
            assert isinstance(value, Histogram)
            made.add_metric(labels, value.buckets, value.sum)
        return made
    kind = CounterMetricFamily if about.kind == COUNTER else GaugeMetricFamily
    plain = kind(name, about.text, labels=about.labels)
    for labels, value in samples.items():
        assert not isinstance(value, Histogram)
        plain.add_metric(labels, float(value))
    return plain
