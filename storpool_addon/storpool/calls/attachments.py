"""API calls about what is attached where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable, TypeVar

from storpool_addon.storpool import reading
from storpool_addon.storpool.calls.asking import Asking
from storpool_addon.storpool.records import Attachment, Reassign

Made = TypeVar("Made")

# What StorPool and the network may take beyond attachTimeout, as a part of it: 10 s of the usual 20.
_MARGIN = 0.5


class AttachmentCalls(Asking):
    """Attaching adds: a client keeps what it has until it is detached."""

    def attachments_list(self) -> list[Attachment]:
        """All attachments of the cluster."""
        return reading.list_of(reading.attachment, self._get("AttachmentsList", multicluster=True))

    def read_attachments_list(self, read: Callable[[Iterator[Any]], Made]) -> Made:
        """Like read_volumes_space, of attachments_list."""
        return self._read("AttachmentsList", read, multicluster=True, patience_s=0.0)

    def volumes_reassign_wait(
        self, items: Sequence[Reassign], *, attach_timeout_s: int = 20, cluster: str = ""
    ) -> None:
        """Attach and detach several volumes and snapshots, and wait until their clients have done so.

        attach_timeout_s: how long to wait for clients that are down; it is always sent, for without it
        StorPool waits for ever. A device that is open is StorPoolRefused, unless its item has `force`.
        cluster: another one of a multicluster, whose clients are meant.
        """
        self._post(
            "VolumesReassignWait",
            body={"reassign": [item.body() for item in items], "attachTimeout": attach_timeout_s},
            about=", ".join(self._title(item.name) for item in items),
            multicluster=True,
            cluster=cluster,
            patience_s=attach_timeout_s * (1 + _MARGIN),
        )
