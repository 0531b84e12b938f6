"""How a call may be made again after its answer was lost."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

# Reads the outcome back before a deadline: the data that the lost answer would have had, or None when there
# is nothing that the call would have made.
Confirm = Callable[[float], Any]


class Repeat(NamedTuple):
    """What to do when a call was sent and no answer came.

    resend: it may be sent again. gone_is_done: that the object does not exist then means that it is done.
    confirm: asks whether the lost call was carried out.
    """

    resend: bool = True
    gone_is_done: bool = False
    confirm: Confirm | None = None


RESEND = Repeat()
"""Reads, and calls that say how things shall be: the second one changes nothing."""

DELETE = Repeat(gone_is_done=True)
"""Deletions: what the first one removed, the second one does not find."""

ONCE = Repeat(resend=False)
"""What makes an object without a name: the second one would make another, and nobody could tell which."""


def confirmed_by(confirm: Confirm) -> Repeat:
    """A call that makes or moves a name: read it back, and send it again when it is not there."""
    return Repeat(confirm=confirm)
