"""The simulated cluster: its tables, their indices, and changes that happen whole or not at all."""

from __future__ import annotations

import gc
import heapq
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, NamedTuple, TypeVar

from storpool_addon.simulator.datafiles import DataFiles
from storpool_addon.simulator.journal import Journal
from storpool_addon.simulator.records import (
    TYPES,
    Attachment,
    Client,
    Counters,
    Key,
    Policy,
    Record,
    Template,
    Volume,
    revive,
)
from storpool_addon.simulator.refusal import exists, missing
from storpool_addon.simulator.switches import Switches

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
R = TypeVar("R")


class Change(NamedTuple):
    """A record before and after; None where there was or is none."""

    old: Record | None
    new: Record | None


class Cluster:
    """All state of one StorPool cluster. Callers hold `lock` while they read or change it."""

    def __init__(
        self,
        data: DataFiles,
        *,
        journal: Journal | None = None,
        cluster_id: str = "d.n",
        name: str = "",
        switches: Switches = Switches(),  # noqa: B008  immutable
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.data = data
        self.journal = journal
        self.cluster_id = cluster_id
        self.name = name or cluster_id
        self.switches = switches
        self.clock = clock
        self.lock = threading.Condition(threading.RLock())
        self.generation = 1
        self.watchers: list[Callable[[list[Change]], None]] = []
        # Says on which clients a device is open; the data plane knows better than we do.
        self.is_open: Callable[[int, str], bool] = lambda client, gid: False
        self.opened: set[tuple[int, str]] = set()
        self.linked: dict[str, Cluster] = {}
        # The others of a multicluster, by their ids.
        self.federated: dict[str, Cluster] = {}
        self.closed = False
        self._pending: list[Change] = []
        self._depth = 0
        self._tables: dict[type[Any], dict[Key, Any]] = {each: {} for each in TYPES.values()}
        self.names: dict[str, str] = {}
        self.children: dict[str, set[str]] = {}
        self.attached: dict[str, dict[int, Attachment]] = {}
        self.positions: dict[int, set[int]] = {}
        self.sharers: Counter[str] = Counter()
        self.due: list[tuple[float, str]] = []
        self.suspects: set[str] = set()
        if journal:
            with _no_collection():
                self._replay(journal)

    def _replay(self, journal: Journal) -> None:
        policies: dict[Any, Policy] = {}
        lines = 0
        for generation, entries in journal.lines():
            lines += 1
            self.generation = generation
            for kind, fields, *key in entries:
                table = self._tables[TYPES[kind]]
                record = None if fields is None else revive(kind, fields, policies)
                where = key[0] if record is None else record.key
                self._set(table, where, table.get(where), record)
        if lines > 1000 and lines > 2 * sum(map(len, self._tables.values())):
            self.compact()

    def compact(self) -> None:
        """Write the journal anew, as the present state alone."""
        if self.journal:
            entries = (
                _entry(Change(None, each)) for table in self._tables.values() for each in table.values()
            )
            self.journal.rewrite(self.generation, entries)

    # Tables

    def table(self, kind: type[R]) -> dict[Key, R]:
        """All records of a type, by key; not to be changed by the caller."""
        return self._tables[kind]

    def put(self, record: Record) -> None:
        """Add or replace a record; inside `change` only."""
        table = self._tables[type(record)]
        self._note(table, record.key, Change(table.get(record.key), record))

    def drop(self, record: Record) -> None:
        """Remove a record; inside `change` only."""
        table = self._tables[type(record)]
        self._note(table, record.key, Change(table[record.key], None))

    def _note(self, table: dict[Key, Any], key: Key, change: Change) -> None:
        assert self._depth, "records change inside Cluster.change() only"
        self._pending.append(change)
        self._set(table, key, *change)

    def _set(self, table: dict[Key, Any], key: Key, old: Record | None, new: Record | None) -> None:
        if new is None:
            table.pop(key, None)
        else:
            table[key] = new
        if isinstance(old or new, Volume):
            self._index_volume(old, new)  # type: ignore[arg-type]
        elif isinstance(old or new, Attachment):
            self._index_attachment(old, new)  # type: ignore[arg-type]

    def _index_volume(self, old: Volume | None, new: Volume | None) -> None:
        if old:
            if self.names.get(old.name) == old.gid:
                del self.names[old.name]
            if old.parent:
                self.children[old.parent].discard(old.gid)
                self.suspects.add(old.parent)
            self.sharers[old.data] -= 1
        if new:
            if new.name:
                self.names[new.name] = new.gid
            if new.parent:
                self.children.setdefault(new.parent, set()).add(new.gid)
            self.sharers[new.data] += 1
            self._index_time(new)

    def _index_time(self, volume: Volume) -> None:
        for moment in (volume.gone_at, volume.delete_date):
            if moment:
                heapq.heappush(self.due, (moment, volume.gid))
        if volume.bound or volume.transient:
            self.suspects.add(volume.gid)

    def _index_attachment(self, old: Attachment | None, new: Attachment | None) -> None:
        if old:
            self.attached.get(old.gid, {}).pop(old.client, None)
            self.positions[old.client].discard(old.pos)
            self.suspects.add(old.gid)
        if new:
            self.attached.setdefault(new.gid, {})[new.client] = new
            self.positions.setdefault(new.client, set()).add(new.pos)

    # Changes

    @contextmanager
    def change(self) -> Iterator[None]:
        """Records put and dropped in the body become one configuration change, or none if it raises."""
        with self.lock:
            self._depth += 1
            start = len(self._pending)
            try:
                yield
            except BaseException:
                self._roll_back(start)
                raise
            finally:
                self._depth -= 1
            if not self._depth and self._pending:
                self._commit()

    def _commit(self) -> None:
        changes, self._pending = self._pending, []
        self.generation += 1
        if self.journal:
            last = {_identity(each): each for each in changes}
            self.journal.write(self.generation, [_entry(each) for each in last.values()])
        for watcher in self.watchers:
            watcher(changes)
        self._collect(each.old for each in changes)
        self.lock.notify_all()

    def _roll_back(self, start: int) -> None:
        undone = self._pending[start:]
        del self._pending[start:]
        for old, new in reversed(undone):
            record = new or old
            assert record is not None
            self._set(self._tables[type(record)], record.key, new, old)
        self._collect(each.new for each in undone)

    def _collect(self, records: Iterator[Record | None]) -> None:
        """Remove data files that nothing refers to any more."""
        for each in records:
            if isinstance(each, Volume) and each.data and self.sharers[each.data] <= 0:
                self.sharers.pop(each.data, None)
                self.data.remove(each.data)

    # Time

    def now(self) -> float:
        """The cluster's clock, unix seconds; it can be moved."""
        return self.clock() + self.counters.clock_offset

    @property
    def counters(self) -> Counters:
        """The numbers of the cluster itself."""
        return self._tables[Counters].get("counters") or Counters()

    # Objects

    @property
    def volumes(self) -> dict[str, Volume]:
        """Volumes by name or ~globalId: a new dict, for looking around."""
        with self.lock:
            return {each.title: each for each in self.table(Volume).values() if not each.snapshot}

    @property
    def snapshots(self) -> dict[str, Volume]:
        """Snapshots by name or ~globalId, without those that are being deleted."""
        with self.lock:
            snapshots = (each for each in self.table(Volume).values() if each.snapshot and not each.gone_at)
            return {each.title: each for each in snapshots}

    @property
    def attachments(self) -> list[Attachment]:
        """Every attachment."""
        with self.lock:
            return list(self.table(Attachment).values())

    def find(self, reference: str) -> Volume | None:
        """The volume or snapshot of that name or ~globalId."""
        gid = reference[1:] if reference.startswith("~") else self.names.get(reference, "")
        return self.table(Volume).get(gid)

    def volume(self, reference: str) -> Volume:
        """The volume of that name or ~globalId; Refused when there is none."""
        found = self.find(reference)
        if found is None or found.snapshot:
            raise missing("Volume", reference)
        return found

    def snapshot(self, reference: str) -> Volume:
        """The snapshot of that name or ~globalId; Refused when there is none."""
        found = self.find(reference)
        if found is None or not found.snapshot:
            raise missing("Snapshot", reference)
        return found

    def usable_snapshot(self, reference: str) -> Volume:
        """A snapshot that is not being deleted."""
        found = self.snapshot(reference)
        if found.gone_at:
            raise missing("Snapshot", reference)
        return found

    def template(self, name: str) -> Template:
        """The template of that name; Refused when there is none."""
        for each in self.table(Template).values():
            if each.name == name:
                return each
        raise missing("Template", name)

    def check_free(self, name: str) -> None:
        """Refused when a volume or snapshot has that name."""
        if name and name in self.names:
            raise exists(name)

    def next_id(self) -> int:
        """A number that no object has had; inside `change` only."""
        counters = self.counters
        self.put(counters._replace(next_id=counters.next_id + 1))
        return counters.next_id

    def gid(self, number: int) -> str:
        """The globalId of the object with that number."""
        digits = ""
        while number:
            number, rest = divmod(number, 36)
            digits = _DIGITS[rest] + digits
        return f"{self.cluster_id}.{digits}"

    def clients(self) -> dict[Key, Client]:
        """Clients by id."""
        return self.table(Client)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hundreds of thousands of records that stay: looking for garbage among them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _identity(change: Change) -> tuple[type[Any], Key]:
    record = change.new or change.old
    assert record is not None
    return type(record), record.key


def _entry(change: Change) -> list[Any]:
    record = change.new or change.old
    assert record is not None
    kind = type(record).__name__
    return [kind, change.new] if change.new is not None else [kind, None, record.key]
