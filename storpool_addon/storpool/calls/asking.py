"""How a method of the API becomes a call: path, body, and the text that names it in errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Callable, TypeVar
from urllib.parse import quote

from storpool_addon.errors import StorPoolNonsense, StorPoolRefused, UsageError
from storpool_addon.storpool.attempts import Call
from storpool_addon.storpool.http import Transport
from storpool_addon.storpool.records import Policy
from storpool_addon.storpool.repeat import RESEND, Repeat

Record = TypeVar("Record")

# VolumesSpace and its like "are way too slow, and can timeout" (StorPoolPlugin.pm of pve-storpool).
SLOW_S = 240.0
_LONGEST_WHAT = 200
# A group of a thousand snapshots is answered in a tenth of this.
_MAX_REPLY_BYTES = 4 << 20
# These name another path, however they are encoded.
_UNADDRESSABLE = ("", ".", "..")


class Asking:
    """What the calls of every subject stand on.

    In each, `multicluster` says that the call takes that prefix; `Api` says whether it gets it. cluster: the
    id of another cluster, to which the API forwards the call.
    """

    _transport: Transport
    _multicluster: bool
    # The names of objects that are addressed as ~globalId.
    _titles: dict[str, str]

    def _get(
        self,
        query: str,
        *args: str,
        multicluster: bool = False,
        cluster: str = "",
        until: float | None = None,
        patience_s: float = 0.0,
    ) -> Any:
        """The data of a GET call."""
        path = self._path(query, args, multicluster, cluster)
        what = _what(query, *map(self._title, args))
        return self._transport.call(Call(what, "GET", path, patience_s=patience_s), until)

    def _read(
        self, query: str, read: Callable[[Iterator[Any]], Record], *, multicluster: bool, patience_s: float
    ) -> Record:
        """What `read` makes of the elements of a GET call's data, given one by one while they arrive.

        read: may be called again, from the first element on, when an answer was lost.
        """
        from storpool_addon.storpool.streaming import elements

        path = self._path(query, (), multicluster, "")

        def made(pieces: Iterator[bytes]) -> Record:
            return read(elements(pieces, query))

        found: Record = self._transport.call(Call(query, "GET", path, patience_s=patience_s, read=made))
        return found

    def _post(
        self,
        query: str,
        *args: str,
        body: Mapping[str, Any] | None = None,
        about: str = "",
        repeat: Repeat = RESEND,
        multicluster: bool = False,
        cluster: str = "",
        patience_s: float = 0.0,
    ) -> dict[str, Any]:
        """The data of a POST call, or what `repeat` found in its place.

        body: members that are None are left out, for StorPool may refuse them as unknown. about: the
        object in error texts, when no argument in the path is it.
        """
        what = _what(query, *map(self._title, args), about)
        given = {key: value for key, value in (body or {}).items() if value is not None}
        encoded = json.dumps(given).encode()
        path = self._path(query, args, multicluster, cluster)
        data = self._transport.call(Call(what, "POST", path, encoded, repeat, patience_s, _MAX_REPLY_BYTES))
        if type(data) is not dict or data.get("ok", True) is not True:
            raise StorPoolNonsense(f"StorPool's answer to {what} says neither that it is done nor why not")
        return data

    def _title(self, reference: str) -> str:
        """What an object is called in error texts."""
        name = self._titles.get(reference)
        return f"{name} ({reference})" if name else reference

    def _path(self, query: str, args: tuple[str, ...], multicluster: bool, cluster: str) -> str:
        prefix = f"RemoteCommand/{_quoted('~' + cluster)}/" if cluster else ""
        prefix += "MultiCluster/" if multicluster and self._multicluster else ""
        return "/".join([f"/ctrl/1.0/{prefix}{query}", *map(_quoted, args)])


def found(get: Callable[[], Record]) -> Record | None:
    """What `get` gives; None when StorPool says that the object does not exist."""
    try:
        return get()
    except StorPoolRefused as error:
        if error.name != "objectDoesNotExist":
            raise
        return None


def has_tags(there: Mapping[str, str], given: Mapping[str, str] | None) -> bool:
    """Whether all tags that were given are there; one given empty is one taken away."""
    return all(there.get(key, "") == value for key, value in (given or {}).items())


def plain(name: str | None) -> bool:
    """Whether this is a name, and not ~globalId or nothing."""
    return bool(name) and not str(name).startswith("~")


def policy_body(policy: Policy | None) -> dict[str, Any]:
    """A policy as members of a request's body."""
    if policy is None:
        return {}
    return {
        "replication": policy.replication,
        "placeAll": policy.place_all,
        "placeTail": policy.place_tail,
        "placeHead": policy.place_head,
        "iops": policy.iops,
        "bw": policy.bw,
        "limitType": policy.limit_type,
        "reuseServer": policy.reuse_server,
    }


def _what(query: str, *objects: str) -> str:
    text = " ".join([query, *filter(None, objects)])
    return text if len(text) <= _LONGEST_WHAT else text[: _LONGEST_WHAT - 1] + "…"


def _quoted(name: str) -> str:
    if name in _UNADDRESSABLE:
        raise UsageError(f"{name!r} is not the name of anything in StorPool")
    # StorPool's clients all send these literally, and "#" would end the path.
    return quote(name, safe="~@:")
