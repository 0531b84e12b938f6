"""Child processes end with the action, whatever happens to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storpool_addon.errors import ToolError
from storpool_addon.hosts.process import Processes


@pytest.fixture
def processes():
    with_children = Processes()
    yield with_children
    with_children.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_output_of_a_program_that_succeeds(processes):
    assert processes.run(["cat"], what="cat", timeout_s=5, stdin=b"hello") == "hello"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["bash", "-c", "echo one >&2; echo 'two  words' >&2; exit 3"],
            "work failed: two words (exit code 3)",
        ),
        (["false"], "work failed: no message (exit code 1)"),
        (
            ["no-such-program-here"],
            "program no-such-program-here is not installed on the front-end; install it",
        ),
    ],
)
def test_failure_in_one_line(processes, argv, line):
    with pytest.raises(ToolError) as caught:
        processes.run(argv, what="work", timeout_s=5)
    assert str(caught.value) == line


def test_deadline_ends_the_whole_group(processes, tmp_path):
    pid_file = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid_file}; wait"
    with pytest.raises(ToolError, match=r"work failed: no end after 0.5 s"):
        processes.run(["bash", "-c", script], what="work", timeout_s=0.5)
    wait_until(lambda: not alive(int(pid_file.read_text())))


def test_close_ends_a_child_that_ignores_sigterm(processes):
    child = processes.start(["bash", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
    assert child.stdout.readline() == b"ready\n"
    started = time.monotonic()
    processes.close()
    assert child.poll() == -signal.SIGKILL
    assert time.monotonic() - started < 5


def test_children_die_with_a_parent_that_is_killed(tmp_path):
    program = (
        "import time\n"
        "from storpool_addon.hosts.process import Processes\n"
        "child = Processes().start(['sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=os.getcwd())
    pid = int(parent.stdout.readline())
    # The kernel is asked for the child's death before it becomes `sleep`; until then there is nothing to see.
    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not alive(pid))
