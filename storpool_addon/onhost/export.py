"""Writes the disks of one backup into a directory of this host: whole ones, and increments of earlier ones.

Standard input is the job, one line of JSON; when it ends before we do, whoever asked for this is gone, and
so are we. Standard output tells how many bytes are done, about once a second, and `done` at the end.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from base64 import b64decode
from functools import partial
from typing import Any, Dict, NamedTuple

from storpool_addon.onhost.increment import write_increment
from storpool_addon.onhost.source import Failed
from storpool_addon.onhost.threads import together
from storpool_addon.onhost.whole import CHILDREN, write_whole

# Disks at a time.
DISKS = 4
REPORT_S = 1.0

Disk = NamedTuple("Disk", [("target", str), ("device", str), ("base", str), ("kind", str)])


class Progress:
    """How many bytes of all disks are done; standard output has it once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = {}  # type: Dict[str, int]
        self._speaking = threading.Lock()
        self._over = False

    def at(self, target: str, done: int) -> None:
        """A disk is that far."""
        with self._lock:
            self._done[target] = done

    def add(self, target: str, more: int) -> None:
        """A disk is that much further."""
        with self._lock:
            self._done[target] = self._done.get(target, 0) + more

    def tell(self) -> None:
        """Report, until it is over."""
        while True:
            time.sleep(REPORT_S)
            with self._lock:
                done = sum(self._done.values())
            with self._speaking:
                if self._over:
                    return
                say(str(done))

    def finish(self) -> None:
        """Say that all is done, and nothing after that."""
        with self._speaking:
            self._over = True
            say("done")


PROGRESS = Progress()


def export(directory: str, disk: Disk) -> None:
    """Write one disk; Failed names it."""
    path = os.path.join(directory, disk.target)
    try:
        if disk.kind == "full":
            write_whole(disk.device, path, partial(PROGRESS.at, disk.target))
        else:
            write_increment(disk.device, disk.base, path, partial(PROGRESS.add, disk.target))
    except (OSError, Failed) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise Failed("{}: {}".format(disk.target, words)) from error


def prepare(directory: str, files: Dict[str, str]) -> None:
    """An empty directory that only we can read, with these files; what an earlier run left goes."""
    if os.path.islink(directory) or os.path.isfile(directory):
        os.unlink(directory)
    elif os.path.exists(directory):
        shutil.rmtree(directory)
    os.makedirs(directory, 0o700)
    for name, content in files.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(b64decode(content))


def run(job: Dict[str, Any]) -> None:
    """Do the whole job; Failed when it could not be done."""
    directory = job["directory"]
    try:
        prepare(directory, job["files"])
    except OSError as error:
        raise Failed("{}: {}".format(error.filename or directory, error.strerror)) from error
    disks = iter([Disk(**each) for each in job["disks"]])
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                disk = next(disks, None)
            if disk is None:
                return
            export(directory, disk)

    together([work] * min(DISKS, len(job["disks"])))


def say(line: str) -> None:
    """One line of standard output; nobody there any more is nothing to us."""
    try:
        os.write(1, line.encode() + b"\n")
    except OSError:
        end(1)


def end(code: int) -> None:
    """End now, with all that we started."""
    CHILDREN.kill()
    os._exit(code)


def watch() -> None:
    """Whoever asked for this holds our input open."""
    while os.read(0, 1024):
        pass
    end(1)


def main() -> None:
    """Be the program."""
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: end(1))
    job = json.loads(sys.stdin.buffer.readline().decode())
    for target in (watch, PROGRESS.tell):
        threading.Thread(target=target, daemon=True).start()
    try:
        run(job)
    except Failed as error:
        os.write(2, "{}\n".format(error).encode())
        end(1)
    PROGRESS.finish()
    end(0)
