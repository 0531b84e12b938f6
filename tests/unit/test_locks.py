"""The lock of an object: one process at a time, however the one before it ended."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storpool_addon import locks
from storpool_addon.errors import StateError

HOLD = """
import sys, time
from storpool_addon import locks
with locks.exclusive(sys.argv[1], "one-img-7", timeout_s=0, who="process 1 (cp)"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "made" / "locks")


@contextmanager
def holder(directory: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of one-img-7."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, directory], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def take(directory: str, name: str = "one-img-7", timeout_s: float = 0.0) -> None:
    with locks.exclusive(directory, name, timeout_s=timeout_s, who="me"):
        pass


def test_a_full_disk_is_no_obstacle(directory: str) -> None:
    """Who has it cannot be written down then; that it is had needs no room."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        with (
            locks.exclusive(directory, "one-img-7", timeout_s=0, who="me"),
            pytest.raises(StateError, match="is being worked on by another process"),
        ):
            take(directory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_only_one_process_has_it_and_the_other_is_told_which(directory: str) -> None:
    with holder(directory):
        with pytest.raises(StateError) as caught:
            take(directory)
        said = str(caught.value)
        assert said.startswith("one-img-7 is being worked on by process 1 (cp) since 2")
        assert said.endswith("; try again later")
        take(directory, "one-img-70")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_process(directory: str, number: int) -> None:
    with holder(directory) as process:
        process.send_signal(number)
        process.wait()
        take(directory)


def test_the_next_gets_it_as_soon_as_it_is_free(directory: str) -> None:
    with holder(directory) as process:
        threading.Timer(0.2, process.kill).start()
        start = time.monotonic()
        take(directory, timeout_s=30)
        assert 0.1 < time.monotonic() - start < 5


def test_many_at_once_take_turns(directory: str) -> None:
    """Each removes the file at its end, under the eyes of those who wait for it."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with locks.exclusive(directory, "one-img-7", timeout_s=30, who="me"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (most, os.listdir(directory)) == (1, [])


def test_it_is_nobody_elses_directory(directory: str) -> None:
    take(directory)
    assert os.stat(directory).st_mode & 0o077 == 0
    os.rmdir(directory)
    os.symlink("/tmp", directory)
    with pytest.raises(StateError, match="remove it"):
        take(directory)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a\n", "a" * 200])
def test_a_name_is_no_path(directory: str, name: str) -> None:
    with pytest.raises(StateError, match="cannot be locked"):
        take(directory, name)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be made"):
        take(str(tmp_path / "file" / "locks"))
