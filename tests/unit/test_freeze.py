"""frozen: whoever dies, and however, the guest runs again (I8). virsh is a program that keeps a record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storpool_addon.errors import HostError, UsageError
from storpool_addon.hosts.freeze import AGENT, SUSPEND, frozen
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Shell

# Notes each call and what it changes; `FILE` says what is to go wrong.
VIRSH = """#!/bin/bash
cd "${0%/*}"
[ "$1" = --connect ] && shift 2
echo "$1 $2" >>calls
if [ -e "slow-$1" ]; then sleep "$(cat "slow-$1")"; fi
if [ -s "fail-$1" ]; then
    sed -i 1d "fail-$1"; echo "error: Guest agent is not responding" >&2; exit 1
fi
case $1 in
    domfsfreeze | suspend) touch still; echo "$1 $(date +%s.%N)" >>changes;;
    domfsthaw | resume) rm -f still; echo "$1 $(date +%s.%N)" >>changes;;
    domstate) cat state 2>/dev/null || echo running;;
esac
"""
SSH = """#!/bin/bash
while [ "$1" != -- ]; do shift; done
bash -c "${*:3}" <&0 &
wait $!
"""
DRIVER = """
import sys, time
from storpool_addon.hosts.freeze import frozen
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Shell
processes = Processes()
with frozen(processes, Shell("node1", processes), "one-42", "agent", True, print, hold_s=1, answer_s=1):
    print("held", flush=True)
    time.sleep(60)
"""


class Guest:
    """The host's record of a guest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name, text in (("virsh", VIRSH), ("ssh", SSH)):
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)

    @property
    def is_still(self) -> bool:
        return (self.directory / "still").exists()

    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def goes_wrong(self, word: str, times: int = 1) -> None:
        (self.directory / f"fail-{word}").write_text("x\n" * times)

    def is_slow(self, word: str, seconds: float) -> None:
        (self.directory / f"slow-{word}").write_text(str(seconds))

    def runs_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.is_still and time.monotonic() < end:
            time.sleep(0.02)
        return not self.is_still

    def helpers(self) -> list[str]:
        """Command lines of what still runs on the host for this guest."""
        found = []
        for each in filter(str.isdigit, os.listdir("/proc")):
            try:
                environ = Path(f"/proc/{each}/environ").read_bytes()
                if str(self.directory).encode() in environ and int(each) != os.getpid():
                    found.append(Path(f"/proc/{each}/cmdline").read_bytes().decode()[-300:])
            except OSError:
                continue
        return [line for line in found if "storpool-addon" in line]

    def rests_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.helpers() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.helpers()


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Guest(tmp_path)


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("mode", "words"), [(AGENT, ["domfsfreeze", "domfsthaw"]), (SUSPEND, ["domstate", "suspend", "resume"])]
)
def test_a_guest_stands_still_for_the_block(
    guest: Guest, processes: Processes, mode: str, words: list[str]
) -> None:
    log: list[str] = []
    with frozen(processes, Shell("node1", processes), "one-42", mode, True, log.append) as held:
        assert held and guest.is_still
    assert not guest.is_still and guest.calls() == words and log == []
    assert guest.rests_within(2)


def test_an_error_in_the_block_is_the_error(guest: Guest, processes: Processes) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        frozen(processes, Shell("node1", processes), "one-42", AGENT, True, print),
    ):
        1 / 0  # noqa: B018
    assert not guest.is_still


def test_a_thaw_that_fails_is_tried_again(guest: Guest, processes: Processes) -> None:
    guest.goes_wrong("domfsthaw", 2)
    with frozen(processes, Shell("node1", processes), "one-42", AGENT, True, print):
        pass
    assert not guest.is_still and guest.calls().count("domfsthaw") == 3


@pytest.mark.parametrize("required", [True, False])
def test_a_thaw_that_goes_on_failing_is_said_and_still_tried(
    guest: Guest, processes: Processes, required: bool
) -> None:
    guest.goes_wrong("domfsthaw", 6)
    log: list[str] = []
    shell = Shell("node1", processes)
    try:
        with frozen(processes, shell, "one-42", AGENT, required, log.append, answer_s=1):
            pass
        said = log[-1]
    except HostError as error:
        said = str(error)
        assert required
    assert "freezing one-42 on host node1 failed" in said and "agent is not responding" in said
    assert guest.is_still and guest.runs_within(10)


@pytest.mark.parametrize(("trouble", "required"), [("refuses", True), ("refuses", False), ("hangs", False)])
def test_a_guest_that_cannot_be_held(
    guest: Guest, processes: Processes, trouble: str, required: bool
) -> None:
    """Whatever the agent does with the question: it is told to thaw."""
    if trouble == "refuses":
        guest.goes_wrong("domfsfreeze")
    else:
        guest.is_slow("domfsfreeze", 1.2)
    log: list[str] = []
    ran: list[bool] = []
    shell = Shell("node1", processes)
    try:
        with frozen(processes, shell, "one-42", AGENT, required, log.append, answer_s=1) as held:
            ran.append(held)
    except HostError as error:
        log.append(str(error))
    assert ran == ([] if required else [False])
    assert "freezing one-42 on host node1 failed" in log[0]
    assert guest.calls()[:2] == ["domfsfreeze", "domfsthaw"] and not guest.is_still


def test_a_freeze_that_takes_hold_after_all_have_died_is_undone(guest: Guest) -> None:
    """The agent was told before the script was killed, and answers when it was thawed already."""
    guest.is_slow("domfsfreeze", 0.7)
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.DEVNULL) as child:
        while "domfsfreeze" not in guest.calls():
            time.sleep(0.02)
        for pid in pids("word=$4", guest.directory):
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 8
        while not guest.is_still and time.monotonic() < end:
            time.sleep(0.02)
        assert guest.is_still and guest.runs_within(8)
        child.kill()
    assert guest.rests_within(8)


def test_a_host_that_is_down(guest: Guest, processes: Processes) -> None:
    (guest.directory / "ssh").write_text(
        "#!/bin/sh\necho 'ssh: connect to host node1: No route' >&2; exit 255\n"
    )
    log: list[str] = []
    with frozen(processes, Shell("node1", processes), "one-42", AGENT, False, log.append) as held:
        assert not held
    assert "No route" in log[0]


def test_a_block_that_takes_too_long(guest: Guest, processes: Processes) -> None:
    shell = Shell("node1", processes)
    with (
        pytest.raises(HostError, match="it took too long, and the guest was let go"),
        frozen(processes, shell, "one-42", AGENT, True, print, hold_s=1),
    ):
        assert guest.runs_within(5)


def test_a_guest_that_was_paused_stays_paused(guest: Guest, processes: Processes) -> None:
    (guest.directory / "state").write_text("paused\n")
    with frozen(processes, Shell("node1", processes), "one-42", SUSPEND, True, print) as held:
        assert held
    assert set(guest.calls()) == {"domstate"}


@pytest.mark.parametrize("deploy_id", ["", "-c", "a b", "$(x)"])
def test_not_a_deploy_id(guest: Guest, processes: Processes, deploy_id: str) -> None:
    shell = Shell("node1", processes)
    with pytest.raises((HostError, UsageError)), frozen(processes, shell, deploy_id, AGENT, True, print):
        pass
    assert guest.calls() == []


@contextmanager
def holding(guest: Guest) -> Iterator[subprocess.Popen[str]]:
    """A driver process that holds the guest."""
    child = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout and child.stdout.readline() == "held\n"
        assert guest.is_still
        yield child
        child.kill()


def pids(word: str, directory: Path) -> list[int]:
    found = []
    for each in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{each}/cmdline").read_bytes()
            ours = str(directory).encode() in Path(f"/proc/{each}/environ").read_bytes()
        except OSError:
            continue
        if ours and word.encode() in line:
            found.append(int(each))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_driver_is_killed(guest: Guest, number: int) -> None:
    with holding(guest) as child:
        child.send_signal(number)
        child.wait()
        assert guest.runs_within(1) and guest.rests_within(6)


@pytest.mark.parametrize("what", ["/ssh", "domfsfreeze"])
def test_ssh_or_all_of_the_hosts_side_but_the_watcher_is_killed(guest: Guest, what: str) -> None:
    with holding(guest) as child:
        for pid in pids(what, guest.directory):
            if what == "domfsfreeze" or os.getsid(pid) == pid != child.pid:
                os.kill(pid, signal.SIGKILL)
        assert guest.runs_within(4)
    assert guest.rests_within(8)
