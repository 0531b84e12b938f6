"""One sequence over all the calls that an action makes outside itself, and a fault at any of them.

The simulator, the lab's oned and the programs that stand in for ssh and its like all ask the conductor
before they act and before they answer; so it can count the calls of a run, and break or kill at call k.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from typing import NamedTuple

BEFORE, AFTER = "before", "after"
FAIL, KILL = "fail", "kill"
# What a stand-in program is told, one word a line.
ACT, TELL, REFUSE, ANSWER = "act", "tell", "refuse", "answer"
_SEPARATOR = "\x1f"
_WRAPPERS = ("setpriv", "timeout", "env", "nice", "ionice", "cgexec", "stdbuf")
_PID_WAIT_S = 10.0


class Call(NamedTuple):
    """One call: kind is "api", "rpc", "ssh" or "child"."""

    kind: str
    what: str


class Fault(NamedTuple):
    """What goes wrong at call number `call` (from 1).

    when: "before" or "after" the other side acted. how: "fail" or "kill". A failure of the API or of oned is
    a connection that is reset; if it is persistent, so that no retry hides it: a refusal in their own words,
    or, after they acted, every repeat's answer lost as well. ssh and programs fail with their exit codes.
    """

    call: int
    when: str
    how: str = FAIL
    persistent: bool = False

    def __str__(self) -> str:
        return f"{self.how} {self.when} call {self.call}{' and its repeats' if self.persistent else ''}"


class Ticket(NamedTuple):
    """The conductor's word on one call: whether the other side may act, and what goes wrong with it."""

    conductor: Conductor
    may_act: bool
    fault: Fault | None

    def may_answer(self) -> bool:
        """To be asked once the other side has acted: whether its answer may go out."""
        if self.fault is None:
            return True
        self.conductor.strike(self.fault)
        return False

    @property
    def is_refused(self) -> bool:
        """Whether a call that may not act is to be refused in words, not by a broken connection."""
        return self.fault is not None and self.fault.persistent and self.fault.how == FAIL


class Conductor:
    """Counts the calls of one run at a time; outside of a run everything passes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._children: set[int] = set()
        self._running = False
        self._dead = False
        self._fault: Fault | None = None
        self._pid = 0
        self._pid_known = threading.Event()

    def begin(self, fault: Fault | None = None) -> None:
        """A run begins, with at most one fault."""
        self._calls, self._children = [], set()
        self._fault, self._dead = fault, False
        self._pid_known.clear()
        self._running = True

    def started(self, pid: int) -> None:
        """The run's process is there: the one that KILL kills."""
        self._pid = pid
        self._pid_known.set()

    def end(self) -> list[Call]:
        """The run is over: its calls, in order."""
        self._running = False
        self._pid_known.set()
        return self._calls

    def enter(self, kind: str, what: str) -> Ticket:
        """A call arrives."""
        with self._lock:
            if not self._running:
                return Ticket(self, True, None)
            if self._dead:
                return Ticket(self, False, None)
            call = Call(kind, what)
            self._calls.append(call)
            fault = self._fault if self._is_struck(call) else None
        if fault is None or fault.when == AFTER:
            return Ticket(self, True, fault)
        self.strike(fault)
        return Ticket(self, False, fault)

    def strike(self, fault: Fault) -> None:
        """Carry out the part of a fault that is the conductor's own: the kill."""
        if fault.how == KILL:
            self._dead = True
            self._pid_known.wait(_PID_WAIT_S)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def is_first_of(self, pid: int, parent: int) -> bool:
        """Whether process `pid` is a child of the run's process that has not been counted yet."""
        if not self._running:
            return False
        self._pid_known.wait(_PID_WAIT_S)
        with self._lock:
            if parent != self._pid or pid in self._children:
                return False
            self._children.add(pid)
            return True

    def _is_struck(self, call: Call) -> bool:
        fault, number = self._fault, len(self._calls)
        if fault is None or number < fault.call:
            return False
        return number == fault.call or (fault.persistent and call == self._calls[fault.call - 1])


class Desk:
    """Where stand-in programs ask the conductor: a socket in Linux' abstract name space."""

    def __init__(self, conductor: Conductor, address: str) -> None:
        self._conductor = conductor
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(address)
        self._socket.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True, name="conductor")
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rw") as lines:
            pid, parent, *argv = lines.readline().rstrip("\n").split(_SEPARATOR)
            if not self._conductor.is_first_of(int(pid), int(parent)):
                lines.write(ACT + "\n")
                return
            ticket = self._conductor.enter(*described(argv))
            if not ticket.may_act:
                lines.write(REFUSE + "\n")
            elif ticket.fault is None:
                lines.write(ACT + "\n")
            else:
                lines.write(TELL + "\n")
                lines.flush()
                if lines.readline():
                    lines.write((ANSWER if ticket.may_answer() else REFUSE) + "\n")


def described(argv: list[str]) -> Call:
    """What a command line is, without the programs that only wrap another; ssh with its host."""
    words = [word.replace("\n", " ") for word in argv]
    while words and os.path.basename(words[0]) in _WRAPPERS:
        words = _unwrapped(words)
    program = os.path.basename(words[0]) if words else os.path.basename(argv[0])
    if program == "ssh":
        host = words[words.index("--") + 1] if "--" in words[:-1] else "?"
        return Call("ssh", host)
    return Call("child", program)


def _unwrapped(words: list[str]) -> list[str]:
    """The rest of `wrapper [options] [values] program …`: from the first word that is a program's name on."""
    wrapper, *rest = words
    if os.path.basename(wrapper) == "setpriv" and "--" in rest:
        # Its options have values that look like any word.
        return rest[rest.index("--") + 1 :]
    for index, word in enumerate(rest):
        if not word.startswith("-") and "=" not in word and not word.isdigit():
            return rest[index:]
    return []
