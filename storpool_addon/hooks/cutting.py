"""One StorPool cluster and one client of it: what of ours is attached there, and that it is so no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_addon import fences, names
from storpool_addon.errors import AddonError, StateError, StorPoolError, StorPoolRefused
from storpool_addon.storpool import Reassign
from storpool_addon.volumes import Volumes, is_absent

if TYPE_CHECKING:
    from storpool_addon.fences import Fences
    from storpool_addon.storpool import Attachment

# The wait that is sent is for attaching clients. Whether the fenced one has followed is read back.
_TIMEOUT_S = 5
# Of one call; a host has some hundred at the most.
_AT_ONCE = 200
DOWN, APPLIED = "down", "applied"


class Found(NamedTuple):
    """What is attached to the client. reference: what addresses it. ours: by its exact name and its tag.

    vm: the id of the VM whose it is, None for none that is known.
    """

    name: str
    reference: str
    snapshot: bool
    rights: str
    ours: bool = False
    vm: int | None = None

    @classmethod
    def of(cls, each: Attachment) -> Found:
        """Before it is known whose it is."""
        reference = f"~{each.global_id}" if each.global_id else each.volume
        return cls(each.volume, reference, each.snapshot, each.rights)


class Cut:
    """The client, as one API knows it. ids: the datastores there.

    detached: names of what this run has taken from the client, so far. proof: DOWN or APPLIED once it is
    known that the client can write to nothing of ours; "" until then.
    """

    def __init__(self, volumes: Volumes, client: int, ids: Sequence[int]) -> None:
        self._api = volumes.api
        self._volumes = volumes
        self.client = client
        self.ids = tuple(ids)
        self.title = self._api.endpoint.title
        self.key = fences.key(self._api.endpoint.urls(), client)
        self.detached: list[str] = []
        self.proof = ""
        self.trouble = ""
        self._tags: dict[str, Mapping[str, str] | None] = {}

    def __str__(self) -> str:
        return f"client {self.client} of {self.title}"

    def attached(self) -> list[Found]:
        """What is attached to the client now; what is gone before it was looked at is left out."""
        mine = (each for each in self._api.attachments_list() if each.client == self.client)
        return [self._known(Found.of(each)) for each in mine]

    def also_elsewhere(self) -> list[str]:
        """Names of volumes of ours that this client may write to, and another one too."""
        writers: dict[str, set[int]] = {}
        for each in self._api.attachments_list():
            if each.rights == "rw":
                writers.setdefault(each.volume, set()).add(each.client)
        mine = [each.name for each in self.attached() if each.ours and each.rights == "rw"]
        return [name for name in mine if len(writers.get(name, ())) > 1]

    def is_known(self) -> bool:
        """Whether the cluster has such a client."""
        return any(each.id == self.client for each in self._api.clients_config_dump())

    def state(self) -> tuple[str, int, int]:
        """What StorPool says of the client, the cluster's configuration, and the one that the client has.

        StateError when the cluster knows no such client.
        """
        for each in self._api.clients_config_dump():
            if each.id == self.client:
                return each.config_status, each.generation, each.client_generation
        raise StateError(f"StorPool knows no {self}; is the host's SP_OURID right?")

    def cut(self) -> list[Found]:
        """Detach what is ours, by force, and give what there was; the next look tells what came of it."""
        there = [each for each in self.attached() if each.ours]
        for start in range(0, len(there), _AT_ONCE):
            self._detach(there[start : start + _AT_ONCE])
        return there

    def try_at_once(self) -> None:
        """As `cut`; what fails is left to `sever`."""
        try:
            self.cut()
        except AddonError as error:
            self._volumes.log(f"{self}: {error}")

    def sever(self, give_up: Callable[[], bool], sleep: Callable[[float], None]) -> None:
        """Detach until a look shows nothing of ours and the client is known to have followed; sets `proof`.

        What a look showed once is known of the client when it has a configuration that is not older than the
        look, or when StorPool counts it as down: then it is served nothing until it has got a new one.
        Nothing is given back by anybody here, so a last look is only about what other front-ends did.
        """
        self.proof = ""
        while True:
            if not self.cut():
                proof = self._followed(give_up, sleep)
                if not [each for each in self.attached() if each.ours]:
                    self.proof = proof
                    return
            if give_up():
                raise StateError(self._unproven("volumes are still attached to it"))
            sleep(0.2)

    def _followed(self, give_up: Callable[[], bool], sleep: Callable[[float], None]) -> str:
        floor = self.state()[1]
        while True:
            status, _, reached = self.state()
            if status == DOWN and self._is_down():
                return DOWN
            if status == "ok" and reached >= floor:
                return APPLIED
            if give_up():
                raise StateError(
                    self._unproven(f"its state is {status or 'unknown'}, and it may still write")
                )
            sleep(0.2)

    def _is_down(self) -> bool:
        """Whether the list of services, which has its own view of the client, says the same."""
        service = self._api.services_list().clients.get(self.client)
        return service is not None and service.status == DOWN

    def _unproven(self, why: str) -> str:
        more = f" ({self.trouble})" if self.trouble else ""
        return f"{self} is not confirmed to be cut off: {why}{more}; power the host off, then run it again"

    def _detach(self, found: Sequence[Found]) -> None:
        items = [
            Reassign(snapshot=each.reference, detach=[self.client], force=True)
            if each.snapshot
            else Reassign(volume=each.reference, detach=[self.client], force=True)
            for each in found
        ]
        self.detached += [each.name for each in found if each.name not in self.detached]
        try:
            self._api.volumes_reassign_wait(items, attach_timeout_s=_TIMEOUT_S)
        except StorPoolError as error:
            # What came of it is read back: a lost answer, a volume that was deleted, a client that is late.
            self.trouble = str(error)
            self._volumes.log(f"{self}: {error}")

    def _known(self, found: Found) -> Found:
        """With whose it is, which is asked for once."""
        if found.reference not in self._tags:
            self._tags[found.reference] = self._tags_of_ours(found)
        tags = self._tags[found.reference]
        if tags is None:
            return found
        vm = tags.get(self._volumes.config.vm_tag, "")
        return found._replace(ours=True, vm=int(vm) if vm.isascii() and vm.isdigit() else None)

    def _tags_of_ours(self, found: Found) -> Mapping[str, str] | None:
        """The tags of what is ours; None for anything else, and for what is gone."""
        config = self._volumes.config
        if not names.is_ours(config.one_px, found.name, snapshot=found.snapshot):
            return None
        look = self._api.snapshot if found.snapshot else self._api.volume
        try:
            tags: Mapping[str, str] = look(found.reference).tags
            if not found.snapshot:
                # A context image may have no tag; no other that is attached may.
                self._volumes.check_ours("volume", found.name, tags)
            elif tags.get(config.loc_tag) != config.loc_tag_val:
                return None
        except StateError:
            return None
        except StorPoolRefused as error:
            if is_absent(error):
                return None
            raise
        return tags


def sever(
    cuts: Sequence[Cut], marks: Fences, give_up: Callable[[], bool], sleep: Callable[[float], None]
) -> list[str]:
    """Detach everywhere, then prove it everywhere; why it is not proven. All have to be marked before.

    A cluster that does not answer delays the detaching on no other.
    """
    troubles = []
    for cut in cuts:
        cut.try_at_once()
    for cut in cuts:
        try:
            # What was on its way when the mark was set has arrived, and is seen by what follows.
            marks.settle(cut.key, give_up)
            cut.sever(give_up, sleep)
        except AddonError as error:
            troubles.append(str(error))
    return troubles
