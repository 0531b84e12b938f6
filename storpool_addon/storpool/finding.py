"""Where in a multicluster an object is: looked up by its name in each cluster, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple

from storpool_addon.errors import StateError, StorPoolError, StorPoolRefused, StorPoolUnreachable
from storpool_addon.storpool import reading
from storpool_addon.storpool.calls.asking import Asking, plain

HERE = ""
_READERS: dict[str, Callable[[Any], Any]] = {"Volume": reading.volume, "Snapshot": reading.snapshot}


class Found(NamedTuple):
    """An object. cluster: the id of the one that has it, HERE for the API's own."""

    cluster: str
    record: Any


class Finding(Asking):
    """Volumes and snapshots by their names, in all clusters of a multicluster.

    In each method, query is "Volume" or "Snapshot".
    """

    def _find_in(self, others: Sequence[str], ours: Callable[[Mapping[str, str]], bool]) -> None:
        """To be called first. others: ids of the other clusters. ours: whether tags say that it is ours."""
        self._others = tuple(others)
        self._ours = ours
        self._known: dict[tuple[str, str], Found] = {}
        self._reached: set[str] = set()

    def _object(self, query: str, name: str, until: float | None = None) -> Any:
        """A volume or snapshot: by its id where that is known, else looked for in each cluster."""
        known = self._known.get((query, name))
        if known or not plain(name):
            at = f"~{known.record.global_id}" if known else name
            try:
                data = self._get(query, at, multicluster=True, until=until)
                return reading.one_of(_READERS[query], data)
            except StorPoolRefused as error:
                if not known or error.name != "objectDoesNotExist":
                    raise
                self._forget(query, name)
        found = self._look(query, name, (HERE, *self._others), until)
        if not found:
            raise _absence(query, name)
        one = self._the_one(query, name, found)
        self._known[query, name] = one
        self._titles[f"~{one.record.global_id}"] = name
        return one.record

    def _look(
        self, query: str, name: str, clusters: Sequence[str], until: float | None = None
    ) -> list[Found]:
        """The objects of that name.

        A cluster that cannot be asked is no obstacle to what another one has; but nothing is taken for absent
        that it might have: StorPoolUnreachable.
        """
        found: dict[str, Found] = {}
        silent: list[str] = []
        for cluster in clusters:
            try:
                data = self._get(query, name, multicluster=not cluster, cluster=cluster, until=until)
            except StorPoolError as error:
                if not self._says_absent(cluster, error):
                    silent.append(f"cluster {cluster} cannot be asked about {query.lower()} {name}: {error}")
            else:
                record = reading.one_of(_READERS[query], data)
                found[record.global_id] = Found(cluster, record)
        for line in silent:
            self._transport.log(line)
        if silent and not found:
            raise StorPoolUnreachable(f"{silent[0]}; is SP_MULTICLUSTER right?")
        return list(found.values())

    def _says_absent(self, cluster: str, error: StorPoolError) -> bool:
        """Whether the cluster says that it has no such object; the datastore's own has to be asked for good.

        That the cluster itself is not known may be said in the same words: one that answers nothing else has
        said nothing.
        """
        absent = getattr(error, "name", "") == "objectDoesNotExist"
        if not cluster and not absent:
            raise error
        if cluster and absent and cluster not in self._reached:
            try:
                self._get("LocationsList", cluster=cluster)
            except StorPoolError:
                return False
            self._reached.add(cluster)
        return absent

    def _the_one(self, query: str, name: str, found: Sequence[Found]) -> Found:
        ours = [each for each in found if self._ours(each.record.tags)]
        if len(found) == 1 or len(ours) == 1:
            return (ours or found)[0]
        places = " and ".join(each.cluster or "the datastore's own" for each in found)
        raise StateError(
            f"{query.lower()} {name} is in several clusters of the multicluster: {places}; rename all but one"
        )

    def _check_free(self, query: str, name: str | None) -> None:
        """StorPool refuses a name that is taken in the same cluster; this does so for the other clusters."""
        for kind in _READERS if plain(name) else ():
            for there in self._look(kind, str(name), self._others):
                descr = f"'{name}' exists in cluster {there.cluster}"
                raise StorPoolRefused(f"{query} {name}", "objectExists", descr)

    def _at(self, query: str, name: str) -> str:
        """~globalId of a name."""
        if not plain(name):
            return name
        if (query, name) not in self._known:
            self._object(query, name)
        return f"~{self._known[query, name].record.global_id}"

    def _home(self, query: str, name: str) -> str:
        self._at(query, name)
        known = self._known.get((query, name))
        return known.cluster if known else HERE

    def _forget_all(self) -> None:
        self._known.clear()

    def _forget(self, query: str, name: str) -> None:
        self._known.pop((query, name), None)

    def _gone_if_refused(self, query: str, name: str, call: Callable[..., None], **options: Any) -> None:
        """Call with the object's id; one that is not there under it any more is looked for anew next time."""
        try:
            call(self._at(query, name), **options)
        except StorPoolRefused as error:
            if error.name == "objectDoesNotExist":
                self._forget(query, name)
            raise


def _absence(query: str, name: str) -> StorPoolRefused:
    descr = f"{query} '{name}' does not exist in any cluster of the multicluster"
    return StorPoolRefused(f"{query} {name}", "objectDoesNotExist", descr)
