"""Child processes: each with an argument list, a deadline and a process group that ends with the action."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO

from storpool_addon.errors import ToolError

GRACE_S = 2.0
_READ = 64 << 10


class Finished(Exception):
    """How a child ended when that was not well: its exit code (None: past its deadline) and last words."""

    def __init__(self, exit_code: int | None, stderr: bytes) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
        lines = stderr.decode("utf-8", "replace").split("\n")
        words = [" ".join(line.split()) for line in lines if line.strip()]
        self.last_line = words[-1] if words else ""


class Processes:
    """The child processes of one action; `close` ends those that still run."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | int | None = None,
        stdout: IO[bytes] | int | None = subprocess.PIPE,
        stderr: IO[bytes] | int | None = subprocess.PIPE,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a child in a process group of its own; ToolError when the program is not installed.

        environ: its whole environment, where that is not to be ours.

        The child dies with us even when we are killed: setpriv asks the kernel for that before it
        becomes the program (util-linux 2.33), so that no fork of a Python process has to.
        """
        if not _is_installed(argv[0]):
            raise ToolError(f"program {argv[0]} is not installed on the front-end; install it")
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *argv],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            env=environ,
        )
        self._running.append(child)
        return child

    def finish(self, child: subprocess.Popen[bytes], *, timeout_s: float, data: bytes | None = None) -> bytes:
        """The child's standard output once it has ended; Finished when it failed or passed its deadline."""
        try:
            output, errors = child.communicate(data, timeout=timeout_s)
        except subprocess.TimeoutExpired as expired:
            self.end(child)
            raise Finished(None, expired.stderr or b"") from None
        except BaseException:
            self.end(child)
            raise
        self._running.remove(child)
        if child.returncode:
            raise Finished(child.returncode, errors or b"")
        return output or b""

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        timeout_s: float,
        stdin: bytes | IO[bytes] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Run a program of the front-end and give its standard output; ToolError when it fails."""
        data = stdin if isinstance(stdin, bytes) else None
        source = subprocess.PIPE if data is not None else stdin
        child = self.start(argv, stdin=source, environ=environ)  # type: ignore[arg-type]
        try:
            return self.finish(child, timeout_s=timeout_s, data=data).decode("utf-8", "replace")
        except Finished as ended:
            raise ToolError(f"{what} failed: {describe(ended, timeout_s)}") from None

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """End the child's whole process group: politely first, then for certain."""
        for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(wait_s)
                break
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        if child in self._running:
            self._running.remove(child)

    def close(self) -> None:
        """End every child that still runs."""
        for child in list(self._running):
            self.end(child)


def says(child: subprocess.Popen[bytes], words: bytes, timeout_s: float) -> bool:
    """Whether what the child prints comes to end with these words before it ends, or the time does."""
    assert child.stdout is not None
    output, end, said = child.stdout.fileno(), time.monotonic() + timeout_s, b""
    while not said.endswith(words):
        left_s = end - time.monotonic()
        if left_s <= 0 or not select.select([output], [], [], left_s)[0]:
            return False
        some = os.read(output, 4096)
        if not some:
            return False
        said += some
    return True


def describe(ended: Finished, timeout_s: float) -> str:
    """The end of a child in the words of one line."""
    if ended.exit_code is None:
        return f"no end after {timeout_s:g} s"
    return f"{ended.last_line or 'no message'} (exit code {ended.exit_code})"


def _is_installed(program: str) -> bool:
    # Not by shutil, which brings every way to pack files with it.
    directories = [""] if os.path.dirname(program) else os.get_exec_path()
    return any(os.access(os.path.join(each, program), os.X_OK) for each in directories)
