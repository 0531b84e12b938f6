"""The way to a cluster's API: its endpoints in turn, and a deadline for each call with its repeats."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable

from storpool_addon.errors import StorPoolError
from storpool_addon.storpool.answer import OK, data_of
from storpool_addon.storpool.attempts import Attempts, Call
from storpool_addon.storpool.endpoints import Endpoint
from storpool_addon.tally import Tally

if TYPE_CHECKING:
    from storpool_addon.storpool.wire import Wire

# A timeout of nothing would not even begin.
LEAST_S = 0.01
# A shorter token is nobody's, and might be part of any word.
_LEAST_TOKEN = 8


class Transport:
    """Carries calls to a cluster.

    deadline_s: for a call with all its repeats. tally: where calls are counted. clock, sleep: monotonic
    seconds, and a pause of seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        deadline_s: float,
        connect_timeout_s: float,
        log: Callable[[str], None],
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint = endpoint
        self.urls = endpoint.urls()
        self._current = 0
        self._deadline_s = deadline_s
        self._connect_timeout_s = connect_timeout_s
        self.log = log
        self._tally = tally
        self.clock = clock
        self.sleep = sleep
        self._lazy_wire: Wire | None = None

    def call(self, call: Call, until: float | None = None) -> Any:
        """The call's data, or what its `Repeat` found in place of a lost answer.

        until: a deadline on the clock that is given, instead of one from now. Raises StorPoolRefused,
        StorPoolUnreachable when it was certainly not carried out, StorPoolLost when it may have been,
        StorPoolNonsense.
        """
        if until is None:
            until = self.clock() + self._deadline_s + call.patience_s
        with self._tally.call(call.what.partition(" ")[0]) as timed:
            return Attempts(self, call, until, timed).run()

    def once(self, call: Call, until: float) -> Any:
        """One attempt, at the endpoint whose turn it is."""
        left_s = max(until - self.clock(), LEAST_S)
        # Half the time for one attempt leaves the other half for the node that the API moved to.
        answer_s = min(left_s, self._deadline_s / 2 + call.patience_s)
        try:
            answer = self._wire.exchange(
                call.method,
                self.url + call.path,
                call.body,
                connect_s=min(left_s, self._connect_timeout_s),
                answer_s=answer_s,
                max_bytes=call.max_bytes,
                read=call.read,
            )
            return answer.read if call.read and answer.status == OK else data_of(answer, call.what)
        except StorPoolError as error:
            _hide(self._endpoint.token, error)
            raise

    @property
    def url(self) -> str:
        """The endpoint whose turn it is."""
        return self.urls[self._current]

    def next_endpoint(self) -> None:
        """Let the next endpoint have its turn."""
        self._current = (self._current + 1) % len(self.urls)

    @property
    def _wire(self) -> Wire:
        if self._lazy_wire is None:
            # http.client takes longer to import than all else that a script does before its first call.
            from storpool_addon.storpool.wire import Wire

            self._lazy_wire = Wire(self._endpoint)
        return self._lazy_wire


def _hide(token: str, error: StorPoolError) -> None:
    """Take the token out of an error's texts: a gateway may echo what it was sent."""
    if len(token) < _LEAST_TOKEN:
        return
    error.args = tuple(str(each).replace(token, "…") for each in error.args)
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, value.replace(token, "…"))
