"""Runs one action with one fault in a new world, runs it again, and says what is wrong."""

from __future__ import annotations

import itertools
import os
import queue
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from storpool_addon.lab.command import Command, Result
from storpool_addon.lab.conductor import AFTER, BEFORE, FAIL, KILL, Call, Fault
from storpool_addon.lab.hosts import FRONTEND
from storpool_addon.lab.lab import ENVIRONMENT, HOME
from storpool_addon.simulator.simulator import Logged
from tests.sweep import leftovers, picture, scene
from tests.sweep.ground import Ground
from tests.sweep.picture import Picture, difference
from tests.sweep.row import Row
from tests.sweep.watch import Watch

# What a call that fails for good may take, and what one on a busy machine may take.
IMPATIENT_S, PATIENT_S = 1, 60
_PATIENCE_AFTER_KILL_S = 5.0
# Faults that a row meets by default.
_MOST = 2
_numbers = itertools.count()


class Standard(NamedTuple):
    """An undisturbed run: the measure of each other. acting: numbers of calls that change something."""

    before: Picture
    after: Picture
    stdout: str
    calls: list[Call]
    acting: frozenset[int]


class World:
    """A lab, furnished for a row, with the command that the row is about."""

    def __init__(self, row: Row, lab: Ground) -> None:
        self.row = row
        self.lab = lab
        self.watches: list[Watch] = []
        self.again()

    def again(self) -> None:
        """Make the world anew: nothing has happened in it."""
        self.close()
        self.lab.clear()
        scene.neighbours(self.lab)
        self.command: Command = self.row.prepare(self.lab)
        self.before = picture.take(self.lab)
        self.watches = [Watch(cluster, migration=self.row.migration) for cluster in self.lab.clusters]

    def run(self, fault: Fault | None = None, *, deadline_s: int = PATIENT_S) -> Result:
        """Run the action once."""
        patience = {"SP_API_DEADLINE": deadline_s, "ATTACH_TIMEOUT": min(deadline_s, 20)}
        self.lab.configure(**patience, ONE_CALL_RETRIES=1, **self.row.settings)
        return self.lab.run(self.command, fault)

    def requests(self) -> list[Logged]:
        """What the API was asked by the runs so far, in order."""
        return sorted(
            (each for one in self.lab.simulators for each in one.requests), key=lambda each: each.time
        )

    def broken_rules(self) -> list[str]:
        """What must hold at every moment and did not."""
        return [line for watch in self.watches for line in watch.broken_rules()]

    def close(self) -> None:
        """Watch no more."""
        for watch in self.watches:
            watch.close()


class Place:
    """Where worlds are made, one on the ground of another. tree: where the driver is installed."""

    def __init__(self, tree: str, directory: str) -> None:
        self._tree = tree
        self._directory = directory
        self._free: queue.SimpleQueue[Ground] = queue.SimpleQueue()
        self._ends = ExitStack()

    def try_out(self) -> None:
        """Raises NoHosts where this machine gives us none."""
        self._free.put(self._new())

    def close(self) -> None:
        """End all worlds."""
        self._ends.close()

    def _new(self) -> Ground:
        directory = os.path.join(self._directory, f"world-{next(_numbers)}")
        os.mkdir(directory)
        return self._ends.enter_context(Ground(directory, self._tree))

    @contextmanager
    def world(self, row: Row) -> Iterator[World]:
        """A world that nobody else uses. One that an error left in is not used again."""
        try:
            lab = self._free.get_nowait()
        except queue.Empty:
            lab = self._new()
        there = World(row, lab)
        yield there
        there.close()
        self._free.put(lab)


def standard(row: Row, place: Place) -> Standard:
    """The undisturbed run; AssertionError when that is not as it has to be."""
    with place.world(row) as there:
        first = there.run()
        assert first.exit_code == 0 and not first.stderr, first
        after = picture.take(there.lab)
        requests = there.requests()
        acting = frozenset(_acting(first.calls, [each.method for each in requests]))
        again = there.run()
        assert (again.exit_code, again.stdout, again.stderr) == (0, first.stdout, ""), again
        assert not (changed := _changed(row, after, picture.take(there.lab))), changed
        assert not there.broken_rules(), there.broken_rules()
        assert not leftovers.processes(there.lab, patience_s=0.5)
        return Standard(there.before, after, first.stdout, first.calls, acting)


def _changed(row: Row, expected: Picture, found: Picture) -> list[str]:
    if row.sets_aside:
        expected, found = picture.lasting(expected), picture.lasting(found)
    return difference(expected, found)


def _acting(calls: list[Call], methods: list[str]) -> Iterator[int]:
    left = iter(methods)
    for number, call in enumerate(calls, 1):
        reads = next(left) == "GET" if call.kind == "api" else call.kind == "rpc" and ".info" in call.what
        if not reads:
            yield number


def faults(known: Standard, *, full: bool) -> list[Fault]:
    """What is to go wrong: at each call, before and, where it changes something, after the other side acted.

    A call that fails once may be repeated within the run, one that fails for good ends it. Without `full` the
    kinds take turns from call to call, three of four calls that only ask are left out, and so are some of the
    calls of a long run.
    """
    numbers = range(1, len(known.calls) + 1)
    if full:
        return [each for number in numbers for each in _kinds(known, number)]
    # Rows of the same beginning do not all meet the same.
    turns = [(number, number + len(known.calls)) for number in numbers]
    met = [each for each in turns if each[0] in known.acting or each[1] % 4 == 0] or turns[-1:]
    step = max(1, -(-len(met) // _MOST))
    return [_in_turn(known, number, turn) for number, turn in met[len(known.calls) % step :: step]]


def _kinds(known: Standard, number: int) -> list[Fault]:
    """All that can befall a call."""
    before = [Fault(number, BEFORE, how) for how in (FAIL, KILL)]
    kinds = [Fault(number, BEFORE, FAIL, persistent=True), *before]
    if number in known.acting:
        after = [Fault(number, AFTER, how) for how in (FAIL, KILL)]
        kinds += [Fault(number, AFTER, FAIL, persistent=True), *after]
    return kinds


def _in_turn(known: Standard, number: int, turn: int) -> Fault:
    """What befalls a call by default: nothing that passes before the other side acted is among it."""
    kinds = [each for each in _kinds(known, number) if each.when == AFTER or each.persistent]
    if number not in known.acting:
        kinds.append(Fault(number, BEFORE, KILL))
        turn //= 4
    return kinds[turn % len(kinds)]


def problems(row: Row, place: Place, known: Standard, fault: Fault) -> list[str]:
    """What is wrong with a run that meets the fault, and with the undisturbed one after it."""
    with place.world(row) as there:
        first = _struck(there, fault)
        wrong = _after_fault(there, known, fault, first)
        again = there.run()
        wrong += _after_recovery(there, known, again)
        return [f"{line}   (first run: exit code {first.exit_code}, {first.stderr!r})" for line in wrong]


def _struck(there: World, fault: Fault) -> Result:
    """A run that meets the fault; on a busy machine an impatient one may have lost another one."""
    patience = (IMPATIENT_S, 4 * IMPATIENT_S, PATIENT_S) if fault.persistent else (PATIENT_S,)
    for deadline_s in patience:
        first = there.run(fault, deadline_s=deadline_s)
        if len(first.calls) >= fault.call:
            return first
        there.again()
    raise AssertionError(f"{fault} was never met: {first}")


def _after_fault(there: World, known: Standard, fault: Fault, first: Result) -> list[str]:
    if fault.how == KILL:
        ended = [] if first.exit_code == -9 else [f"killed, but its exit code is {first.exit_code}"]
        return ended + _still_running(there, _PATIENCE_AFTER_KILL_S)
    wrong = _still_running(there, 0.5)
    found = picture.take(there.lab)
    if first.exit_code == 0:
        return wrong + _after_success(there.row, known, fault, first, found)
    if first.stdout:
        wrong.append(f"failed, and yet answered {first.stdout!r}")
    wrong += _message(there, first, first.calls[fault.call - 1])
    if there.row.undoes and not _undo_was_struck(first, fault):
        wrong += _left_behind(there, known, known.calls[fault.call - 1], first, found)
    return wrong


def _left_behind(there: World, known: Standard, call: Call, first: Result, found: Picture) -> list[str]:
    """What the undo forgot: the world is as it was, or the failure came when all was done."""
    before, after, now = map(picture.lasting, (there.before, known.after, found))
    if call.kind == "ssh":
        # What is on a host that is lost cannot be taken back.
        before, after, now = map(picture.without_hosts, (before, after, now))
    left = difference(before, now) if difference(after, now) else []
    return [f"left behind: {line}" for line in left if not _is_named(line, first)]


def _is_named(line: str, first: Result) -> bool:
    """Whether the message says of a volume that nobody knows whether it was made: on a busy machine there may
    be no time left to read it back."""
    return "may have been carried out" in first.stderr and f"volume {_lost(first.stderr)} " in line


def _lost(message: str) -> str:
    """The object in the words `VolumeCreate NAME was lost`."""
    words = message.partition(" was lost ")[0].split()
    return words[-1] if words else ""


def _after_success(row: Row, known: Standard, fault: Fault, first: Result, found: Picture) -> list[str]:
    """I6: exit 0 with the postcondition true."""
    expected = known.after
    if row.spares_dead_hosts and known.calls[fault.call - 1].kind == "ssh":
        expected, found = picture.without_hosts(expected), picture.without_hosts(found)
    wrong = [] if row.forgives else [f"I6, exit code 0: {line}" for line in difference(expected, found)]
    if first.stdout != known.stdout or first.stderr:
        wrong.append(f"exit code 0, but it answered {first.stdout!r} and said {first.stderr!r}")
    return wrong


def _undo_was_struck(first: Result, fault: Fault) -> bool:
    """Whether the fault went on into the undo, and the message says what could not be undone."""
    call = first.calls[fault.call - 1]
    return fault.persistent and first.calls.count(call) > 1 and "could not undo" in first.stderr


def _message(there: World, first: Result, call: Call | None = None) -> list[str]:
    wrong = []
    if first.exit_code != 1:
        wrong.append(f"failed with exit code {first.exit_code}, not 1")
    if first.stderr.count("\n") != 1 or not first.stderr.endswith("\n"):
        wrong.append(f"not one line of cause: {first.stderr!r}")
    if there.lab.simulator.token in first.stderr:
        wrong.append("I9: the token is in the message")
    words = re.findall(r"[\w~][\w.~-]*", first.stderr)
    # A call without an object, such as a list, is named itself.
    known = call is not None and call.what.split()[-1] in first.stderr
    if not known and not any(re.search(r"\d", word) or word == FRONTEND for word in words):
        wrong.append(f"no object is named: {first.stderr!r}")
    return wrong


def _after_recovery(there: World, known: Standard, again: Result) -> list[str]:
    """I1: the run after the fault ends as if there had been none."""
    wrong = []
    if (again.exit_code, again.stderr) != (0, ""):
        wrong.append(f"again: exit code {again.exit_code}, {again.stderr!r}")
    if again.stdout != known.stdout:
        wrong.append(f"again: answered {again.stdout!r}, not {known.stdout!r}")
    wrong += [f"again: {line}" for line in _changed(there.row, known.after, picture.take(there.lab))]
    return wrong + there.broken_rules() + _still_running(there, 0.5)


def _still_running(there: World, patience_s: float) -> list[str]:
    return [f"I7: still runs: {line}" for line in leftovers.processes(there.lab, patience_s=patience_s)]


def twice_at_once(row: Row, place: Place, known: Standard) -> list[str]:
    """C1: what is wrong after the action ran twice in parallel."""
    with place.world(row) as there:
        there.lab.configure(SP_API_DEADLINE=PATIENT_S, **row.settings)
        argv = there.lab.hosts.action_argv(there.command.argv, ENVIRONMENT, HOME)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        both = [subprocess.Popen(argv, **pipes) for _ in range(2)]
        for each in both:
            assert each.stdin
            each.stdin.write(there.command.stdin)
            each.stdin.close()
            each.stdin = None
        results = [Result(each.wait(), *map(bytes.decode, each.communicate()), [], 0.0) for each in both]
        wrong = [line for each in results if each.exit_code for line in _message(there, each)]
        if all(each.exit_code for each in results):
            wrong.append(f"both failed: {[each.stderr for each in results]}")
        if not any(each.exit_code for each in results):
            wrong += [f"C1: {line}" for line in _changed(there.row, known.after, picture.take(there.lab))]
        return wrong + _after_recovery(there, known, there.run())
