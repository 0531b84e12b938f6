"""A new volume while it is being filled: marked, so that no crash leaves half of its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.tags import UNFINISHED
from storpool_addon.undo import uninterrupted
from storpool_addon.units import MIB, bytes_to_mib_up, mib_to_bytes
from storpool_addon.volumes import Placement, is_absent

if TYPE_CHECKING:
    from storpool_addon.undo import Undo
    from storpool_addon.volumes import Volumes

# A volume whose stream is longer than was said grows by at least so much at a time.
GROWTH = 1 << 30
# No global id: the volume of that name is not the one that this action was to make.
_ANOTHERS = "another's"


def is_finished(volumes: Volumes, name: str) -> bool:
    """Whether an earlier run made the volume whole; what a killed run left half is removed.

    StateError when another run still writes it.
    """
    volume = volumes.find(name)
    if volume is None:
        return False
    host = volume.tags.get(UNFINISHED, "")
    if not host:
        return True
    try:
        volumes.release([name], force=False)
    except StateError:
        raise StateError(f"volume {name} is still being written on host {host}; try again later") from None
    volumes.log(f"volume {name} was left half written by an earlier run; beginning anew")
    volumes.discard(name)
    return False


class Draft:
    """A volume that one action fills.

    Only the volume that this action made is ever grown, finished or deleted: it is told by its global id,
    which a volume that another run makes under the same name does not have.
    """

    def __init__(self, volumes: Volumes, name: str, host: str, client: int) -> None:
        self._volumes = volumes
        self.name = name
        self._host = host
        self._client = client
        self._global_id = ""
        self.size = 0
        self._wanted = 0

    def create(self, undo: Undo, *, size: int, template: str, tags: Mapping[str, str]) -> None:
        """Make it, of that many bytes, and attach it to the host; undo deletes it."""
        marked = {**tags, UNFINISHED: self._host}
        undo.add(f"delete volume {self.name}", self._discard)
        with uninterrupted():
            if not self._volumes.create(self.name, size=size, template=template, tags=marked):
                self._global_id = _ANOTHERS
                raise StateError(f"volume {self.name} was just made by another run; try again later")
            self._global_id = self._volumes.owned(self.name).global_id
            self._volumes.place([Placement(self.name, self._client)])
        self.size = self._wanted = size

    def need(self, end: int) -> None:
        """StateError when the volume ends before `end`."""
        if end > self.size:
            size_mib = self.size // MIB
            raise StateError(f"the image is larger than its size of {size_mib} MiB; import it again")

    def make_room(self, end: int) -> None:
        """Grow the volume when it ends before `end`, for streams that nobody knew the length of."""
        self._wanted = max(self._wanted, mib_to_bytes(bytes_to_mib_up(end)))
        if end <= self.size:
            return
        self.size = self._wanted + max(GROWTH, self.size)
        self._update(size=self.size)
        # The block device has its new size once the client has followed the cluster's configuration.
        self._volumes.api.client_config_wait(self._client)

    def finish(self) -> None:
        """Detach it, and make it a finished image in one call."""
        self._volumes.release([self.name])
        if self.size != self._wanted:
            self._update(size=self._wanted, shrink_ok=True, tags={UNFINISHED: ""})
        else:
            self._update(tags={UNFINISHED: ""})

    def _update(self, **changes: Any) -> None:
        """Change this very volume, by its global id: another run may have one of the same name by now."""
        try:
            self._volumes.api.volume_update(f"~{self._global_id}", **changes)
        except StorPoolRefused as error:
            if not is_absent(error):
                raise
            raise StateError(f"volume {self.name} was taken away by another run; try again") from None

    def _discard(self) -> None:
        volume = self._volumes.find(self.name)
        if volume is None or UNFINISHED not in volume.tags:
            return
        if self._global_id in ("", volume.global_id):
            self._volumes.discard(self.name)
