"""What of ours is attached where: all may be repeated, and no guest loses its device unasked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple

from storpool_addon import fences
from storpool_addon.config import Config
from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.fences import Fences
from storpool_addon.storpool import Api, Reassign

# A device that udev or blkid looks at is open for a moment: two seconds of polite tries, as StorPool's
# own OpenStack driver makes (os-brick, connectors/storpool.py), before anything harder.
POLITE_S = 2.0
POLITE_PAUSE_S = 0.2
# In StorPool's description of a refusal, for a device that a process has open: "'X' is open at client 11".
_OPEN = "is open at"


class Placement(NamedTuple):
    """Where a volume is to be attached: on this client and on no other. mode: "rw" or "ro"."""

    volume: str
    client: int
    mode: str = "rw"


class Attaching:
    """The attachments of one datastore's volumes. fenced: the clients to which nothing is attached."""

    def __init__(
        self, api: Api, config: Config, log: Callable[[str], None], fenced: Fences | None = None
    ) -> None:
        self.api = api
        self.config = config
        self.log = log
        self._fenced = fenced or Fences("")

    def place(self, placements: Sequence[Placement], *, force: bool = False) -> None:
        """Attach each volume to its client and to no other, in one call.

        A volume whose device is open on another client makes it StateError, and nothing is detached;
        with `force` that other client loses it, after a polite wait.
        """
        items = [_placed(each) for each in placements]
        if items:
            self.reassign(items, force=force)

    def share(self, placements: Sequence[Placement]) -> None:
        """Attach each volume to its client as well, in one call: other clients keep it."""
        items = [_placed(each)._replace(detach=None) for each in placements]
        if items:
            self.reassign(items, force=False)

    def give_back(self, placements: Sequence[Placement]) -> None:
        """Attach each volume to its client again and to no other, or to nobody where that is fenced."""
        items = [_placed(each) for each in placements]
        if any(self._is_fenced(each.client) for each in placements):
            items = [Reassign(volume=each.volume, detach="all") for each in placements]
        if items:
            self.reassign(items, force=False)

    def _is_fenced(self, client: int) -> bool:
        marked = self._fenced.words(self._key(client))
        return bool(marked or getattr(client, "fenced", ""))

    def span(self, source: Sequence[Placement], target: Sequence[Placement]) -> None:
        """Attach each volume to its source and its target and to no other, in one call: it migrates.

        A migration that was cut off, and comes back when its VM runs on a third host, is refused so; to add
        the target would let two write. What is only read, or spans clusters, is added to what has it.
        """
        items = [
            _placed(there)._replace(detach=None)
            if there.mode == "ro" or self.api.spans_clusters
            else Reassign(volume=there.volume, rw=[here.client, there.client], detach="all")
            for here, there in zip(source, target)
        ]
        if items:
            self.reassign(items, force=False)

    def release(self, names_of_volumes: Iterable[str], *, force: bool = True) -> None:
        """Detach each volume from every client, in one call; politely first, then by force if allowed."""
        items = [Reassign(volume=name, detach="all") for name in names_of_volumes]
        if items:
            self.reassign(items, force=force)

    def take_from(self, name: str, client: int, *, force: bool) -> None:
        """Detach a volume from one client; done already when it is not attached there.

        A device that is open there makes it StateError; with `force` it is taken all the same, after a wait.
        """
        try:
            self.reassign([Reassign(volume=name, detach=[client])], force=force)
        except StorPoolRefused as error:
            # Not certain of StorPool: whether it takes a detach of what is not attached there.
            if is_open(error) or self._is_attached(name, client):
                raise

    def withdraw(self, name: str, client: int) -> None:
        """Undo an attachment that may have been made: detach from this client alone, politely."""
        try:
            self.reassign([Reassign(volume=name, detach=[client])], force=False)
        except StorPoolRefused as error:
            # Not certain of StorPool: whether it takes a detach of what is not attached there.
            self.log(f"volume {name} was not detached from client {client}: {error}")

    def reassign(self, items: Sequence[Reassign], *, force: bool = True) -> None:
        """Attach and detach, in one call; an open device is waited for, then taken by force if allowed.

        StateError, and nothing is done, when one would be attached to a client that is fenced.
        """
        with self._fenced.attaching(self._attached_to(items)):
            self._reassign(items, force)

    def _attached_to(self, items: Sequence[Reassign]) -> Iterator[str]:
        for client in {each for item in items for each in (*item.rw, *item.ro)}:
            told = getattr(client, "fenced", "")
            if told:
                raise StateError(f"nothing is attached to {told}")
            yield self._key(client)

    def _key(self, client: int) -> str:
        return fences.key(self.api.endpoint.urls(), client, getattr(client, "cluster", ""))

    def _reassign(self, items: Sequence[Reassign], force: bool) -> None:
        give_up = time.monotonic() + POLITE_S
        while True:
            try:
                self.api.volumes_reassign_wait(items, attach_timeout_s=self.config.attach_timeout_s)
                return
            except StorPoolRefused as error:
                if not is_open(error):
                    raise
                refused = error
            # By the clock: a client that does not answer takes StorPool a whole attach timeout to say so.
            if time.monotonic() + POLITE_PAUSE_S > give_up:
                break
            time.sleep(POLITE_PAUSE_S)
        if not force and _OPEN in refused.descr:
            raise StateError(f"{refused.descr}; is its VM running there? stop it, then try again")
        if not force:
            raise refused
        self.log(f"detaching by force: {refused.descr}")
        forced = [item._replace(force=True) for item in items]
        self.api.volumes_reassign_wait(forced, attach_timeout_s=self.config.attach_timeout_s)

    def _is_attached(self, name: str, client: int) -> bool:
        return any((each.volume, each.client) == (name, client) for each in self.api.attachments_list())


def is_open(error: StorPoolRefused) -> bool:
    """Whether StorPool refused because a device is open, or may be; older releases say invalidParam."""
    return error.name == "busy" or _OPEN in error.descr


def _placed(placement: Placement) -> Reassign:
    clients = [placement.client]
    if placement.mode == "ro":
        return Reassign(volume=placement.volume, ro=clients, detach="all")
    return Reassign(volume=placement.volume, rw=clients, detach="all")
