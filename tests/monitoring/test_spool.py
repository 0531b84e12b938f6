"""The spool of what processes did: nothing is lost or counted twice, whoever is killed; odd files."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storpool_addon import tally
from storpool_addon.lab.command import REMOTES, Command
from storpool_addon.lab.lab import HOME, Lab
from storpool_addon.monitoring.spool import Spool
from storpool_addon.monitoring.totals import Totals
from storpool_addon.simulator.faults import REFUSE, Fault, Verdict
from storpool_addon.tally import Tally
from tests import tool
from tests.sweep import scene
from tests.tm.test_terminated import Terminated

# Eight processes leave 250 lines each, while two take them away.
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
children.append(os.fork())
for _ in range(50):
    reader.totals()
if not children[-1]:
    os._exit(0)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""
# A process has opened the file, three times, when it is taken away.
LATE = """
import sys
from storpool_addon.monitoring.spool import Spool
from storpool_addon.tally import DIRECTORY, Tally

home, times, reader = sys.argv[1], 3, Spool(f"{sys.argv[1]}/{DIRECTORY}")
reader.totals()

def hook(event, _):
    global times
    if event == "fcntl.flock" and times > 0:
        left, times = times, 0
        reader.totals()
        times = left - 1

sys.addaudithook(hook)
Tally().write(home, "tm/clone", 0)
assert times == 0
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


def test_whoever_is_late_writes_where_it_is_read(tmp_path: Path) -> None:
    run(LATE, tmp_path)
    assert runs(totals(tmp_path)) == 1


def test_a_reader_that_is_killed_anywhere(tmp_path: Path) -> None:
    assert int(run(KILLED, tmp_path)) > 10


def test_a_line_that_cannot_be_written_is_not_written(home: Path, tmp_path: Path) -> None:
    """Nobody's action fails or waits for that."""
    victim = tmp_path / "victim"
    victim.touch()
    places: list[Callable[[], object]] = [
        lambda: file(home).symlink_to(victim),
        lambda: os.mkfifo(file(home)),
        lambda: file(home).mkdir(),
        lambda: os.truncate(os.open(file(home), os.O_CREAT | os.O_WRONLY), tally.MOST_BYTES),
    ]
    for number, put in enumerate(places, 1):
        put()
        leave(home)
        assert victim.stat().st_size == 0
        found = totals(home)
        assert (runs(found), found.losses["garbage"]) == (number - 1, number)
        leave(home)
        assert runs(totals(home)) == number
    assert found.losses["full"] == 1
    leave(tmp_path / "nowhere")
    leave(victim)


def test_a_full_disk_and_garbage_cost_their_own_lines_alone(home: Path) -> None:
    leave(home)
    size, (soft, hard) = file(home).stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
    try:
        leave(home)
        leave(home)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file(home).stat().st_size == size + 20
    leave(home)
    whole = file(home).read_bytes().splitlines()[-1]
    odd = [b"\0" * 9, b"[]", b"{}", b"[" * 100_000, b"\xff", whole[1:], whole[:-1]]
    odd += [
        whole.replace(b"tm/clone", b"tm/one clone"),
        whole.replace(b'"ok"', b'"fine"'),
        whole.replace(b"[1,", b"[2,", 1),
        whole.replace(b"{}", b'{"Volume":[0,0,-1,0.1,[1]]}'),
        whole.replace(b"{}", b'{"Volume":[0,0,0,NaN,[1]]}'),
        whole.replace(b"{}", b'{"Volume":[0,0,0,0.1,[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]]}'),
    ]
    with file(home).open("ab") as spool:
        spool.write(b"\n" + b"\n".join(odd))
    found = totals(home)
    assert (runs(found), found.losses["garbage"], found.calls) == (2, 1 + len(odd), {})


def test_trouble_is_said_and_passes(home: Path) -> None:
    leave(home)
    with file(home).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        totals(home, "still writing")
        leave(home)
    assert runs(totals(home)) == 2
    file(home, "totals.json").write_bytes(b"half of it")
    leave(home)
    assert runs(totals(home)) == 1
    os.rename(file(home).parent, home / "away")
    file(home).parent.symlink_to(home / "away")
    totals(home, "is not a directory of the user")


BROKEN = """
from storpool_addon import edge
from storpool_addon.opennebula.protocol import protocol

@protocol()
def broken(driver):
    raise KeyError("x")

edge.run(broken)
"""


def test_what_scripts_did(lab: Lab) -> None:
    """As seen by those whom they called: how each ended, how often it asked, what was asked again."""
    home = Path(lab.hosts.frontend.path(HOME))
    vm = lab.vms.create(lab.give_image(content=b"x"))
    clone = scene.upto(lab.vms.deploy(vm, "node1"), "clone")
    assert lab.run(clone).exit_code == 0 and not file(home).exists(), "nobody reads: no line"
    totals(home)

    calls = lab.run(clone).calls
    written = file(home).read_text()
    assert not [each for each in ("one-img", "node1", lab.simulator.endpoint[2]) if each in written]
    found = totals(home)
    seen = {name: sum(each.spread.counts) for name, each in found.calls.items()}
    rpc = sum(number for name, number in seen.items() if name.startswith("one."))
    kinds = [each.kind for each in calls]
    assert (rpc, seen["ssh"]) == (kinds.count("rpc"), kinds.count("ssh"))
    assert sum(seen.values()) - seen.get("here", 0) - rpc - seen["ssh"] == kinds.count("api")
    # It was there already; that is no failure.
    created = found.calls["VolumeCreate"]
    assert (created.refusals, created.failures, created.retries) == (1, 0, 0)
    assert set(found.actions) == {("tm/clone", "ok")} and found.retries == {"tm/clone": 0}
    assert 0.02 < found.actions["tm/clone", "ok"].seconds < 60

    lab.simulator.faults.set([Fault(REFUSE, "VolumesReassignWait", times=2)])
    assert lab.run(clone).exit_code == 0
    lab.simulator.faults.set([Fault(Verdict.error("noSpace"), "VolumeCreate", times=0)])
    assert lab.run(clone).exit_code == 1
    lab.simulator.faults.set([])
    assert lab.run(Command("tm/storpool/clone", ())).exit_code == 2
    installed = Path(lab.tree, REMOTES[1:], "tm/storpool/clone").read_text()
    script = installed.partition("from storpool_addon")[0] + BROKEN
    lab.hosts.frontend.write(f"{REMOTES}/tm/storpool/broken", script, 0o755)
    assert lab.run(Command("tm/storpool/broken", ())).exit_code == 3
    assert Terminated(lab, clone, 3).exit_code == 143
    tool.run(lab, "policies", "--dry-run")

    found = totals(home)
    assert {each: sum(spread.counts) for each, spread in found.actions.items()} == {
        ("tm/clone", "ok"): 2,
        ("tm/clone", "failed"): 1,
        ("tm/clone", "usage"): 1,
        ("tm/broken", "bug"): 1,
        ("tm/clone", "terminated"): 1,
        ("cli/policies", "ok"): 1,
    }
    assert found.calls["VolumesReassignWait"].retries == 2 == found.retries["tm/clone"]
    assert found.calls["VolumeCreate"].refusals == 3 and found.losses == {"garbage": 0, "full": 0}
