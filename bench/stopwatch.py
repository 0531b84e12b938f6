"""Runs programs one at a time and measures each from its start to its end; a program of its own.

It stands in the front-end's view of the file system, so that nothing but the program itself lies between
the two looks at the clock, and it is small, so that starting a child costs little. It answers each line of
its input, one JSON document, with a line of its output.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from typing import BinaryIO

# Without the lab's own programs: those count, and cost time.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(argv: list[str], stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> tuple[int, float]:
    """Exit code (negative for a signal) and milliseconds."""
    streams = [
        (os.POSIX_SPAWN_DUP2, stream.fileno(), number)
        for number, stream in enumerate((stdin, stdout, stderr))
    ]
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=streams)
    status = os.waitpid(pid, 0)[1]
    taken_s = time.perf_counter() - start
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), taken_s * 1000


def measured(argv: list[str], stdin: str) -> dict[str, object]:
    """What one line is answered with."""
    temporary = tempfile.TemporaryFile
    with temporary() as given, temporary() as stdout, temporary() as stderr:
        given.write(stdin.encode())
        given.seek(0)
        status, taken_ms = run(argv, given, stdout, stderr)
        texts = [_text(stream) for stream in (stdout, stderr)]
    return {"status": status, "ms": taken_ms, "stdout": texts[0], "stderr": texts[1]}


def _text(stream: BinaryIO) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def main(programs: str) -> None:
    """Serve until the input ends. programs: a directory that stands first on PATH."""
    os.environ["PATH"] = f"{programs}:{SYSTEM_PATH}"
    gc.disable()
    for line in sys.stdin:
        print(json.dumps(measured(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
