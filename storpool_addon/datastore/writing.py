"""Where an image's data is written: a device or a file, of the front-end or of another host."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable, NamedTuple, Union

from storpool_addon.datastore import sparse
from storpool_addon.errors import HostError, HostUnreachable
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.process import Finished, Processes

if TYPE_CHECKING:
    from storpool_addon.hosts.shell import Shell

TIMEOUT_S = 24 * 3600.0
STALL_S = 120.0
DEVICE_WAIT_S = 10.0
# A frame is one dd on the host: long enough that starting it does not count.
FRAME = 16 << 20
# A disk that gets its work early is done sooner; a smaller step would keep it waiting for us.
WRITEBACK = 32 << 20
REPORT_EVERY_S = 5.0

# Standard input is frames, `OFFSET LENGTH` on a line and then LENGTH bytes, and `end LENGTH` after the last:
# a stream that ends without it is broken. dd does not read beyond its count, nor does read beyond the line.
_RECEIVE = (
    PRELUDE
    + r"""
wait_for "$1"
while read -r offset length; do
    if [ "$offset" = end ]; then
        [ "$2" = device ] || truncate -s "$length" "$1"
        exec sync "$1"
    fi
    dd of="$1" bs=1M iflag=fullblock,count_bytes oflag=seek_bytes conv=notrunc status=none \
        seek="$offset" count="$length"
done
echo "the data ended too early" >&2
exit 1
"""
)


class Target(NamedTuple):
    """A place on a host. device: it has its size already; a file gets that of what is written."""

    shell: Shell
    path: str
    device: bool = True


class Progress:
    """Tells the log every few seconds how far a copy is and how fast. size: bytes, 0 when nobody knows."""

    def __init__(self, what: str, size: int, log: Callable[[str], None]) -> None:
        self._what = what
        self._size = size
        self._log = log
        self._last = (time.monotonic(), 0)

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        since, before = self._last
        if now - since < REPORT_EVERY_S:
            return
        share = f"{min(100 * done // self._size, 100)} %" if self._size else f"{done >> 20} MiB"
        self._log(f"{self._what}: {share}, {(done - before) / (now - since) / 1e6:.1f} MB/s")
        self._last = (now, done)


class Local:
    """Writes on the front-end itself."""

    hole = sparse.HOLE

    def __init__(self, target: Target) -> None:
        self._target = target
        give_up = time.monotonic() + DEVICE_WAIT_S
        while not os.path.exists(target.path) and time.monotonic() < give_up:
            time.sleep(0.1)
        with self._failures():
            self._fd = os.open(target.path, os.O_WRONLY | os.O_CLOEXEC)
        self._begun = 0

    def write(self, offset: int, data: bytes) -> None:
        """Write one piece; several threads may, in about the order of their offsets."""
        with self._failures():
            done = 0
            while done < len(data):
                done += os.pwrite(self._fd, memoryview(data)[done:], offset + done)
            if offset + done - self._begun >= WRITEBACK:
                self._write_back(offset + done)

    def finish(self, length: int) -> None:
        """Everything is on the disk when this returns."""
        with self._failures():
            if not self._target.device:
                os.ftruncate(self._fd, length)
            os.fsync(self._fd)

    def _write_back(self, end: int) -> None:
        """Have the kernel begin to write the last step, and give back the memory of those before it.

        All that is not on the disk yet would wait for the fsync, and the memory of a large image would be
        taken from everybody else on the front-end.
        """
        begin = max(self._begun - 2 * WRITEBACK, 0)
        os.posix_fadvise(self._fd, begin, end - begin, os.POSIX_FADV_DONTNEED)
        self._begun = end

    def close(self) -> None:
        """Let go of it; what was not finished is of no use."""
        os.close(self._fd)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"writing {self._target.path}"
            raise HostError(self._target.shell.name, what, None, error.strerror or str(error)) from None


class Remote:
    """Writes on another host through one ssh."""

    # A hole costs a new dd there.
    hole = 1 << 20

    def __init__(self, target: Target, processes: Processes) -> None:
        self._target = target
        self._processes = processes
        kind = "device" if target.device else "file"
        argv = target.shell.command(_RECEIVE, target.path, kind, timeout_s=TIMEOUT_S)
        self._child = processes.start(argv, stdin=subprocess.PIPE)
        assert self._child.stdin is not None
        self._pipe = self._child.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._begin = 0
        self._frame = bytearray()

    def write(self, offset: int, data: bytes) -> None:
        """Write one piece; pieces that touch travel together."""
        if offset != self._begin + len(self._frame) or len(self._frame) >= FRAME:
            self._flush()
            self._begin = offset
        self._frame += data

    def finish(self, length: int) -> None:
        """Everything is on the disk when this returns."""
        self._flush()
        self._send(f"end {length}\n".encode())
        self._ended()

    def close(self) -> None:
        """End what still runs there."""
        if self._child.returncode is None:
            self._processes.end(self._child)

    def _flush(self) -> None:
        if self._frame:
            self._send(f"{self._begin} {len(self._frame)}\n".encode())
            self._send(bytes(self._frame))
            self._frame.clear()

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if not select.select([], [self._pipe], [], STALL_S)[1]:
                raise HostUnreachable(
                    self._target.shell.name, self._what, None, f"no answer for {STALL_S:g} s"
                )
            try:
                rest = rest[os.write(self._pipe, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._ended()
                raise HostError(
                    self._target.shell.name, self._what, 0, "it ended before the data did"
                ) from None

    def _ended(self) -> None:
        try:
            self._processes.finish(self._child, timeout_s=STALL_S)
        except Finished as ended:
            raise HostError(self._target.shell.name, self._what, ended.exit_code, ended.last_line) from None

    @property
    def _what(self) -> str:
        return f"writing {self._target.path}"


Writer = Union[Local, Remote]


@contextlib.contextmanager
def open_target(target: Target, processes: Processes) -> Iterator[Writer]:
    """The writer for a target; closed at the end, whatever happens."""
    writer: Writer = Remote(target, processes) if target.shell.remote else Local(target)
    try:
        yield writer
    finally:
        writer.close()
