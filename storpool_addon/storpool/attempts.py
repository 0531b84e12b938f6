"""The repeats of one call: which failures are tried again, and what is asked after a lost answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from storpool_addon.errors import (
    StorPoolError,
    StorPoolLost,
    StorPoolNonsense,
    StorPoolRefused,
    StorPoolUnreachable,
)
from storpool_addon.storpool.repeat import RESEND, Repeat

if TYPE_CHECKING:
    from storpool_addon.storpool.http import Transport
    from storpool_addon.tally import Call as Timed

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
# A garbled answer may be the API's move to another node; one that stays garbled is not.
NONSENSE_TRIES = 3
# A list of everything in a large cluster; nothing else comes near.
MAX_BYTES = 512 << 20


class Call(NamedTuple):
    """One call. what: the call and its object, for error texts. path: what follows the host and port.

    body: encoded once, here, so that a repeat sends the same bytes. patience_s: how long StorPool itself
    may take over it, beyond what any call may. max_bytes: of its answer. read: makes the data of an answer's
    pieces while they arrive; called anew at each attempt.
    """

    what: str
    method: str
    path: str
    body: bytes | None = None
    repeat: Repeat = RESEND
    patience_s: float = 0.0
    max_bytes: int = MAX_BYTES
    read: Callable[[Iterator[bytes]], Any] | None = None


class Attempts:
    """One call until it is answered, refused, or out of time."""

    def __init__(self, transport: Transport, call: Call, until: float, timed: Timed) -> None:
        self._transport = transport
        self._call = call
        self._timed = timed
        self._until = until
        self._lost: StorPoolError | None = None
        self._nonsense = 0

    def run(self) -> Any:
        """The call's data, or what its `confirm` found instead; raises as `Transport.call`."""
        for pause_s in pauses(len(self._transport.urls)):
            url = self._transport.url
            try:
                return self._transport.once(self._call, self._until)
            except StorPoolRefused as error:
                if not error.transient:
                    return self._settled(error)
                failure: StorPoolError = error
            except (StorPoolUnreachable, StorPoolNonsense) as error:
                failure = error
                self._note(error)
                self._transport.next_endpoint()
            self._wait(pause_s, failure, url)
            done = self._confirmed()
            if done is not None:
                return done
            self._timed.retries += 1
        raise AssertionError("pauses never end")

    def _note(self, error: StorPoolError) -> None:
        reads = self._call.method == "GET"
        if isinstance(error, StorPoolNonsense):
            self._nonsense += 1
            if reads or self._nonsense >= NONSENSE_TRIES:
                raise error
        if isinstance(error, (StorPoolLost, StorPoolNonsense)) and not reads:
            self._lost = error
            if not self._call.repeat.resend:
                raise self._unknown()

    def _settled(self, refusal: StorPoolRefused) -> Any:
        """What a refusal means when an earlier attempt may have done what this one was refused."""
        if self._lost is None:
            raise refusal
        if self._call.repeat.gone_is_done and refusal.name == "objectDoesNotExist":
            return {"ok": True}
        done = self._confirmed()
        if done is None:
            raise refusal
        return done

    def _confirmed(self) -> Any:
        confirm = self._call.repeat.confirm
        if self._lost is None or confirm is None:
            return None
        try:
            return confirm(self._until)
        except StorPoolError as error:
            raise self._unknown() from error

    def _wait(self, pause_s: float, failure: StorPoolError, url: str) -> None:
        transport = self._transport
        if transport.clock() + pause_s >= self._until:
            raise self._gave_up(failure)
        transport.log(f"{self._call.what}: {failure} ({url}); trying again")
        if pause_s:
            transport.sleep(pause_s)

    def _gave_up(self, failure: StorPoolError) -> StorPoolError:
        if self._lost is not None:
            return self._unknown()
        if isinstance(failure, StorPoolRefused):
            return failure
        where = ", ".join(self._transport.urls)
        return StorPoolUnreachable(
            f"StorPool did not answer {self._call.what} at {where}: {failure}; check that its API is up and"
            " that SP_API_HTTP_HOST and SP_API_HTTP_PORT are right"
        )

    def _unknown(self) -> StorPoolLost:
        return StorPoolLost(
            f"StorPool's answer to {self._call.what} was lost ({self._lost}); it may have been carried out,"
            " so look before you try again"
        )


def pauses(endpoints: int) -> Iterator[float]:
    """Seconds to wait after each failure, without end: none while a round has endpoints not yet tried."""
    pause_s = FIRST_PAUSE_S
    while True:
        for _ in range(endpoints - 1):
            yield 0.0
        # Not before it is needed: it takes time to import.
        from random import uniform

        yield uniform(pause_s / 2, pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
