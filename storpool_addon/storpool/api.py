"""StorPool's management API, one method for each call, named as StorPool names it."""

from __future__ import annotations

import time
from typing import Callable

from storpool_addon.storpool.calls.attachments import AttachmentCalls
from storpool_addon.storpool.calls.cluster import ClusterCalls
from storpool_addon.storpool.calls.remote import RemoteCalls
from storpool_addon.storpool.calls.snapshots import SnapshotCalls
from storpool_addon.storpool.calls.templates import TemplateCalls
from storpool_addon.storpool.calls.volumes import VolumeCalls
from storpool_addon.storpool.endpoints import Endpoint
from storpool_addon.storpool.http import Transport
from storpool_addon.tally import Tally


class Api(VolumeCalls, SnapshotCalls, AttachmentCalls, TemplateCalls, RemoteCalls, ClusterCalls):
    """The API of one cluster.

    Every method raises StorPoolRefused for StorPool's own error; StorPoolUnreachable when no endpoint
    answered and nothing was done; StorPoolLost when something may have been done, and reading it back could
    not tell; StorPoolNonsense for an answer that is not StorPool's; ConfigError for an endpoint or
    certificate that cannot be used.

    deadline_s: for a call with all its repeats, to which waiting calls add what they wait for.
    multicluster: ask all clusters of a multicluster, where a call can. log: gets a line for each repeat.
    tally: where calls are counted. clock, sleep: monotonic seconds, and a pause of seconds.
    """

    # Whether objects of other clusters are found too.
    spans_clusters = False

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        deadline_s: float = 60.0,
        connect_timeout_s: float = 1.0,
        multicluster: bool = False,
        log: Callable[[str], None] | None = None,
        tally: Tally | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint
        self._multicluster = multicluster
        self._titles: dict[str, str] = {}
        self._transport = Transport(
            endpoint,
            deadline_s=deadline_s,
            connect_timeout_s=connect_timeout_s,
            log=log or _silent,
            tally=tally or Tally(),
            clock=clock,
            sleep=sleep,
        )

    def reference(self, name: str, *, snapshot: bool = False) -> str:
        """What names the device of a volume or snapshot on a host: its name, in a multicluster ~globalId."""
        return name

    def __repr__(self) -> str:
        return f"Api({self.endpoint!r})"


def _silent(line: str) -> None:
    """No log."""
