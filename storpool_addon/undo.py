"""Taking back what a failed action has done, newest first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Callable

from storpool_addon.errors import AddonError

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let signals wait for the end of the block.

    For a call that changes something and has to be taken back: were it cut off before its answer, StorPool
    might carry it out after the undo, or nobody would know that there is something to undo.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Undo:
    """What to take back unless the block ends well.

    A step that fails is logged and named in the error that the person reads; the others still run.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._steps: list[tuple[str, Callable[..., object], tuple[Any, ...], dict[str, Any]]] = []

    def add(self, what: str, step: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Add `step(*args, **kwargs)`; `what` says it for the log, as in "delete volume X"."""
        self._steps.append((what, step, args, kwargs))

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        for what, step, args, kwargs in reversed(self._steps):
            self._log(f"undo: {what}")
            try:
                step(*args, **kwargs)
            except AddonError as failure:
                self._log(f"undo failed: {what}: {failure}")
                error.args = (f"{error}; could not undo this: {what} ({failure})",)
