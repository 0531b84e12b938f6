"""The spool of what processes did: nothing is lost or counted twice, whoever is killed; odd files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storpool_addon import tally
from storpool_addon.monitoring.spool import Spool
from storpool_addon.monitoring.totals import Totals
from storpool_addon.tally import Tally

# Eight processes leave 250 lines each, while this one takes them away.
MANY = """
import os, sys
from storpool_addon.monitoring.spool import Spool
from storpool_addon.tally import DIRECTORY, Tally

home, reader = sys.argv[1], Spool(f"{sys.argv[1]}/{DIRECTORY}")
reader.totals()
children = []
for number in range(8):
    pid = os.fork()
    if not pid:
        tally = Tally()
        for _ in range(250):
            with tally.call("VolumeCreate"):
                pass
            tally.write(home, f"tm/clone{number}", 0)
        os._exit(0)
    children.append(pid)
for _ in range(50):
    reader.totals()
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""
# A reader is killed before its call number N that opens, locks, renames, removes or lists, and the next too;
# lines come before each. One that gets to its end makes fewer calls.
KILLED = """
import os, signal, sys
from storpool_addon.monitoring.spool import Spool
from storpool_addon.tally import DIRECTORY, Tally

CALLS = ("open", "fcntl.flock", "os.rename", "os.remove", "os.listdir")

def read(home, kill_at):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == signal.SIGKILL
    seen = 0
    def hook(event, _):
        nonlocal seen
        seen += event in CALLS
        if event in CALLS and seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    Spool(f"{home}/{DIRECTORY}").totals()
    os._exit(0)

kill_at, killed = 0, True
while killed:
    kill_at += 1
    home = f"{sys.argv[1]}/{kill_at}"
    os.makedirs(f"{home}/{DIRECTORY}", 0o700)
    for run in range(3):
        for _ in range(run + 2):
            Tally().write(home, "tm/clone", 0)
        killed = read(home, kill_at if run else -1)
    reader = Spool(f"{home}/{DIRECTORY}")
    for _ in range(2):
        totals = reader.totals()
        found = totals.actions["tm/clone", "ok"].counts
        assert (reader.trouble, sum(found), totals.losses["garbage"]) == ("", 9, 0), (kill_at, found)
    left = sorted(os.listdir(f"{home}/{DIRECTORY}"))
    assert set(left) <= {"totals.json"}, (kill_at, left)
print(kill_at)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose spool was read once: from then on lines are left."""
    Spool(str(tmp_path / tally.DIRECTORY)).totals()
    return tmp_path


def file(home: Path, name: str = tally.FILE) -> Path:
    return home / tally.DIRECTORY / name


def totals(home: Path, trouble: str = "") -> Totals:
    reader = Spool(str(home / tally.DIRECTORY))
    found = reader.totals()
    assert (trouble in reader.trouble) if trouble else not reader.trouble, reader.trouble
    return found


def leave(home: Path, action: str = "tm/clone", exit_code: int = 0, seconds: float | None = None) -> None:
    Tally().write(str(home), action, exit_code, seconds)


def runs(found: Totals) -> int:
    return sum(sum(each.counts) for each in found.actions.values())


def run(program: str, directory: Path) -> str:
    argv = [sys.executable, "-c", program, str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_leave_lines_while_they_are_taken_away(tmp_path: Path) -> None:
    run(MANY, tmp_path)
    found = totals(tmp_path)
    assert {name: sum(each.counts) for (name, _), each in found.actions.items()} == {
        f"tm/clone{number}": 250 for number in range(8)
    }
    assert sum(found.calls["VolumeCreate"].spread.counts) == 2000
    assert found.losses == {"garbage": 0, "full": 0}


def test_a_reader_that_is_killed_anywhere(tmp_path: Path) -> None:
    assert int(run(KILLED, tmp_path)) > 10
