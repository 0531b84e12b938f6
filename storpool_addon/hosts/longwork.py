"""Work on a host that takes long: it ends when we do, however that is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from storpool_addon.errors import HostError
from storpool_addon.hosts.process import Finished, Processes, describe

if TYPE_CHECKING:
    from storpool_addon.hosts.shell import Shell

# Standard input is a pipe that nobody writes to: it closes when the process ends that has the other end.
WATCH = r"""
exec 3<&0 </dev/null
watched() {
    "$@" &
    local tool=$! code=0
    { read -r _ <&3 || :; kill "$tool"; } >/dev/null 2>&1 &
    local watcher=$!
    wait "$tool" || code=$?
    kill "$watcher" 2>/dev/null || :
    return "$code"
}
"""


def run(processes: Processes, shell: Shell, script: str, *args: str, what: str, timeout_s: float) -> str:
    """What a script prints; its long commands go through `watched`, of WATCH. HostError when it fails."""
    try:
        with started(processes, shell.command(script, *args, timeout_s=timeout_s)) as child:
            return processes.finish(child, timeout_s=timeout_s + 10).decode("utf-8", "replace")
    except Finished as ended:
        last_line = ended.last_line or describe(ended, timeout_s)
        raise HostError(shell.name, what, ended.exit_code, last_line) from None


@contextmanager
def started(processes: Processes, argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child whose standard input is open until the block ends, or we do."""
    receiving, sending = os.pipe()
    try:
        try:
            child = processes.start(argv, stdin=receiving)
        finally:
            os.close(receiving)
        yield child
    finally:
        os.close(sending)
