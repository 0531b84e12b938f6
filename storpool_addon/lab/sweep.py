"""Every outside call of an action, broken and killed, before and after; each time the action must recover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.lab.command import Command, Result
from storpool_addon.lab.conductor import AFTER, BEFORE, FAIL, KILL, Call, Fault
from storpool_addon.lab.state import State, picture

if TYPE_CHECKING:
    from storpool_addon.lab.lab import Lab

KILLED = -9


class Deviation(NamedTuple):
    """Something that must not happen: which command, at which call, under which fault, and what."""

    command: Command
    call: Call
    fault: Fault
    what: str

    def __str__(self) -> str:
        return f"{self.command}\n  {self.fault} ({self.call.kind} {self.call.what}): {self.what}"


def faults(number: int) -> Iterator[Fault]:
    """What can happen to one call."""
    yield Fault(number, BEFORE)
    yield Fault(number, AFTER)
    yield Fault(number, BEFORE, FAIL, persistent=True)
    yield Fault(number, BEFORE, KILL)
    yield Fault(number, AFTER, KILL)


def sweep(lab: Lab, command: Command) -> list[Deviation]:
    """Run the command undisturbed, then once under each fault and once more after it; what went wrong.

    The world is afterwards as the undisturbed run left it.
    """
    before = lab.save()
    undisturbed = lab.run(command)
    assert undisturbed.exit_code == 0, f"{command}: {undisturbed.stderr}"
    wanted, found = picture(lab), []
    for number, call in enumerate(undisturbed.calls, 1):
        for fault in faults(number):
            lab.restore(before)
            found += [
                Deviation(command, call, fault, what)
                for what in _tried(lab, command, fault, undisturbed, wanted)
            ]
    return found


def _tried(lab: Lab, command: Command, fault: Fault, undisturbed: Result, wanted: State) -> Iterator[str]:
    first = lab.run(command, fault)
    yield from _judged_end(lab, first, fault, wanted)
    second = lab.run(command)
    if second.exit_code != 0:
        yield f"run again, it fails with {second.exit_code}: {second.stderr.strip()}"
        return
    if second.stdout != undisturbed.stdout:
        yield f"run again, it answers {second.stdout!r} instead of {undisturbed.stdout!r}"
    yield from (f"run again, it leaves {line}" for line in picture(lab).differences(wanted))


def _judged_end(lab: Lab, result: Result, fault: Fault, wanted: State) -> Iterator[str]:
    """The run under the fault: success must be true, failure must be one line."""
    if result.exit_code == 0:
        yield from (f"exit 0, but it leaves {line}" for line in picture(lab).differences(wanted))
    elif fault.how == FAIL and (result.exit_code != 1 or len(result.stderr.splitlines()) != 1):
        yield f"exit {result.exit_code} with {result.stderr!r} on stderr"
    elif fault.how == KILL and result.exit_code != KILLED:
        yield f"it should have been killed, and ended with {result.exit_code}: {result.stderr.strip()}"
