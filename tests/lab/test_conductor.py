"""The conductor: what it counts, where it strikes, and how programs ask it."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from storpool_addon.lab.conductor import AFTER, BEFORE, FAIL, KILL, Call, Conductor, Desk, Fault, described

NUMBERS = itertools.count()
CALLS = [("api", "A"), ("rpc", "B"), ("api", "A")]


def played(fault: Fault | None) -> list[str]:
    """What becomes of three calls under a fault: not acted, acted but not answered, answered."""
    conductor = Conductor()
    conductor.begin(fault)
    conductor.started(0)
    found = []
    for kind, what in CALLS:
        ticket = conductor.enter(kind, what)
        if not ticket.may_act:
            found.append("refused" if ticket.is_refused else "not acted")
        else:
            found.append("answered" if ticket.may_answer() else "lost")
    assert conductor.end() == [Call(*call) for call in CALLS]
    return found


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (None, ["answered", "answered", "answered"]),
        (Fault(1, BEFORE), ["not acted", "answered", "answered"]),
        (Fault(2, AFTER), ["answered", "lost", "answered"]),
        (Fault(1, BEFORE, FAIL, persistent=True), ["refused", "answered", "refused"]),
        (Fault(1, AFTER, FAIL, persistent=True), ["lost", "answered", "lost"]),
        (Fault(4, BEFORE), ["answered", "answered", "answered"]),
    ],
)
def test_a_fault_strikes_its_call_alone(fault: Fault | None, wanted: list[str]) -> None:
    assert played(fault) == wanted


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_kill_ends_the_process_and_all_later_calls(sleeper: subprocess.Popen[bytes], when: str) -> None:
    conductor = Conductor()
    conductor.begin(Fault(2, when, KILL))
    conductor.started(sleeper.pid)
    assert conductor.enter("api", "first").may_answer()
    ticket = conductor.enter("api", "second")
    assert ticket.may_act == (when == AFTER)
    if ticket.may_act:
        assert not ticket.may_answer()
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not conductor.enter("api", "third").may_act
    assert len(conductor.end()) == 2


def test_outside_of_a_run_everything_passes_uncounted() -> None:
    conductor = Conductor()
    ticket = conductor.enter("api", "A")
    assert ticket.may_act
    assert ticket.may_answer()
    conductor.begin()
    assert conductor.end() == []


def said(address: str, *lines: str) -> list[str]:
    """The desk's answers to lines sent one after the other."""
    found = []
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        with client.makefile("rw") as stream:
            for line in lines:
                stream.write(line + "\n")
                stream.flush()
                found.append(stream.readline().strip())
    return found


@pytest.mark.parametrize(
    ("fault", "lines", "wanted"),
    [
        (None, 1, ["act"]),
        (Fault(1, BEFORE), 1, ["refuse"]),
        (Fault(1, AFTER), 2, ["tell", "refuse"]),
        (Fault(2, AFTER), 1, ["act"]),
    ],
)
def test_a_program_asks_at_the_desk(fault: Fault | None, lines: int, wanted: list[str]) -> None:
    conductor, address = Conductor(), f"\0test-desk-{os.getpid()}-{next(NUMBERS)}"
    desk = Desk(conductor, address)
    conductor.begin(fault)
    conductor.started(100)
    asked = "\x1f".join(["101", "100", "qemu-img", "info"])
    assert said(address, *[asked, "done"][:lines]) == wanted
    assert conductor.end() == [Call("child", "qemu-img")]
    desk.close()


def test_a_process_counts_once_and_only_as_a_child_of_the_action() -> None:
    conductor, address = Conductor(), f"\0test-desk-{os.getpid()}-{next(NUMBERS)}"
    desk = Desk(conductor, address)
    conductor.begin(Fault(1, BEFORE))
    conductor.started(100)
    grandchild, child = ("\x1f".join([pid, parent, "dd"]) for pid, parent in (("102", "101"), ("103", "100")))
    assert said(address, grandchild) == ["act"]
    assert said(address, child) == ["refuse"]
    assert said(address, child) == ["act"], "setpriv, timeout and the program itself are one process"
    assert conductor.end() == [Call("child", "dd")]
    desk.close()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("qemu-img info x", Call("child", "qemu-img")),
        ("/usr/bin/qemu-img info x", Call("child", "qemu-img")),
        ("setpriv --pdeathsig TERM -- ssh -o BatchMode=yes -- node1 id", Call("ssh", "node1")),
        ("ssh -A -- node2 cat", Call("ssh", "node2")),
        ("timeout -k 5 60 bash -c true", Call("child", "bash")),
        ("setpriv --pdeathsig TERM -- env A=b xorriso -as mkisofs", Call("child", "xorriso")),
        ("setpriv -- env A=b timeout 5 ssh -- node2 true", Call("ssh", "node2")),
        ("timeout 5", Call("child", "timeout")),
    ],
)
def test_a_command_line_is_described_without_its_wrappers(words: str, wanted: Call) -> None:
    assert described(words.split()) == wanted
