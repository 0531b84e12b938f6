"""A whole disk as a qcow2 image."""

import os
import subprocess
import threading
from typing import Callable, List

from storpool_addon.onhost.source import Failed, Source


class Children:
    """The programs that run; they end when we do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = []  # type: List[subprocess.Popen[bytes]]

    def start(self, argv: List[str]) -> "subprocess.Popen[bytes]":
        """Start one."""
        with self._lock:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            self._running.append(child)
        return child

    def kill(self) -> None:
        """End them all; none starts any more."""
        # Never given back: whoever waits for it is about to end as well.
        self._lock.acquire(timeout=1)
        for child in self._running:
            if child.poll() is None:
                child.kill()


CHILDREN = Children()


def write_whole(device: str, path: str, at: Callable[[int], None]) -> None:
    """The whole disk into a new file, by qemu-img; `at` is told how many bytes are done."""
    source = Source(device)
    child = CHILDREN.start(["qemu-img", "convert", "-p", "-m", "8", "-f", "raw", "-O", "qcow2", device, path])
    assert child.stdout is not None and child.stderr is not None
    while True:
        # "    (12.34/100%)\r"
        printed = os.read(child.stdout.fileno(), 4096)
        if not printed:
            break
        percent = printed.rpartition(b"(")[2].partition(b"/")[0]
        try:
            done = int(source.size * float(percent) / 100)
        except ValueError:
            continue
        source.forget(done)
        at(done)
    source.close()
    errors = child.stderr.read().decode("utf-8", "replace").strip()
    if child.wait():
        raise Failed(" ".join(errors.split()) or "qemu-img ended with {}".format(child.returncode))
