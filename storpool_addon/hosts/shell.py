"""Commands on hosts: one ssh round trip, a constant script, its parameters as data."""

from __future__ import annotations

import re
import subprocess
import time
from shlex import quote
from typing import IO

from storpool_addon.errors import HostError, HostUnreachable, UsageError
from storpool_addon.hosts.process import Finished, Processes, describe
from storpool_addon.tally import Call, Tally

# ssh's own exit code for "could not connect"; our scripts never end with it.
UNREACHABLE = 255
TIMED_OUT = 124
CONNECT_TIMEOUT_S = 5
# A second try meets what passes by itself: sshd at MaxStartups when fifteen actions start at once.
ATTEMPTS = 2
PAUSE_S = 0.2
_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", re.ASCII)


class Shell:
    """Runs bash scripts on one host, or on the front-end itself when `remote` is off."""

    def __init__(
        self, name: str, processes: Processes, *, remote: bool = True, tally: Tally | None = None
    ) -> None:
        if not _HOST_NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a host name")
        self.name = name
        self.remote = remote
        self._processes = processes
        self._tally = tally or Tally()

    def command(
        self, script: str, *args: str, timeout_s: float = 60.0, forward_agent: bool = False
    ) -> list[str]:
        """The argument list that runs `script` there with `args` as "$1" "$2" …; for pipelines.

        `timeout` bounds it on the host as well: a script whose ssh was ended goes on otherwise.
        """
        there = ["timeout", "-k", "5", f"{timeout_s:.0f}", "bash", "-c", script, "storpool-addon", *args]
        if not self.remote:
            return there
        agent = ["-A"] if forward_agent else []
        options = [
            "-o",
            "BatchMode=yes",
            "-o",
            f"ConnectTimeout={CONNECT_TIMEOUT_S}",
            "-o",
            "ServerAliveInterval=10",
        ]
        return ["ssh", *agent, *options, "--", self.name, " ".join(quote(word) for word in there)]

    def run(
        self,
        script: str,
        *args: str,
        what: str,
        timeout_s: float = 60.0,
        stdin: bytes | IO[bytes] | None = None,
        forward_agent: bool = False,
    ) -> str:
        """Run `script` there and give its standard output.

        Raises HostUnreachable when ssh cannot connect or the deadline passes, HostError when the script
        fails. A script must be one that may run twice: a lost connection is tried once more.
        """
        argv = self.command(script, *args, timeout_s=timeout_s, forward_agent=forward_agent)
        with self._tally.call("ssh" if self.remote else "here") as timed:
            return self._attempts(argv, timeout_s, stdin, what, timed)

    def _attempts(
        self, argv: list[str], timeout_s: float, stdin: bytes | IO[bytes] | None, what: str, timed: Call
    ) -> str:
        while True:
            try:
                return self._once(argv, timeout_s + 2 * CONNECT_TIMEOUT_S, stdin)
            except Finished as ended:
                lost = self.remote and ended.exit_code == UNREACHABLE
                if not lost or timed.retries + 1 >= ATTEMPTS:
                    raise self._error(ended, lost, what, timeout_s) from None
            time.sleep(PAUSE_S)
            timed.retries += 1

    def _once(self, argv: list[str], timeout_s: float, stdin: bytes | IO[bytes] | None) -> str:
        data = stdin if isinstance(stdin, bytes) else None
        source: IO[bytes] | int | None = subprocess.PIPE if data is not None else stdin  # type: ignore[assignment]
        if source is not None and not isinstance(source, int):
            source.seek(0)
        child = self._processes.start(argv, stdin=source)
        return self._processes.finish(child, timeout_s=timeout_s, data=data).decode("utf-8", "replace")

    def _error(self, ended: Finished, lost: bool, what: str, timeout_s: float) -> HostError:
        if lost or ended.exit_code in (None, TIMED_OUT):
            last_line = ended.last_line if lost else describe(Finished(None, b""), timeout_s)
            return HostUnreachable(self.name, what, ended.exit_code, last_line)
        return HostError(self.name, what, ended.exit_code, ended.last_line)


class Hosts:
    """The hosts that an action talks to."""

    def __init__(self, processes: Processes, here: str, tally: Tally | None = None) -> None:
        self._processes = processes
        self._tally = tally or Tally()
        self.here = Shell(here, processes, remote=False, tally=self._tally)

    def on(self, name: str) -> Shell:
        """The shell of the host of that name, by ssh."""
        return Shell(name, self._processes, tally=self._tally)
