"""One run of an entry script: what oned gives it, what comes back, and what oned makes of that."""

from __future__ import annotations

import base64
import re
from collections.abc import Generator
from typing import NamedTuple, TypeVar

from storpool_addon.lab.conductor import Call

T = TypeVar("T")
REMOTES, HOST_REMOTES = "/var/lib/one/remotes", "/var/tmp/one"
# one_datastore and one_tm of 7.0 and later (DriverExecHelper.rb): these lines of stderr go to the log.
_LOG_LINE = re.compile(r"^(ERROR|INFO|WARN|DEBUG):\s+(\d+)?\s*(.*)$")
# What a script has to print: the pattern of its whole standard output.
ANSWERS = {
    "cp": r"\S+ \S+\n?",
    "clone": r"\S+( \S+)?\n?",
    "mkfs": r"\S+\n?",
    "stat": r"\d+\n?",
    "monitor": r"(\w+=\S+\n?)+",
    "backup": r"\S+ \d+( \S+)?\n?",
}


class Command(NamedTuple):
    """A script as oned calls it. script: its path below the remotes, as in "tm/storpool/clone".

    host: where OpenNebula has a script of its own run; ours all run on the front-end.
    """

    script: str
    args: tuple[str, ...]
    stdin: bytes = b""
    host: str = ""

    @property
    def name(self) -> str:
        """The action, without directory and suffix."""
        return self.script.rpartition("/")[2].partition(".")[0]

    @property
    def argv(self) -> list[str]:
        """The command line on the front-end, or on the host."""
        return [f"{HOST_REMOTES if self.host else REMOTES}/{self.script}", *self.args]

    def __str__(self) -> str:
        return " ".join([self.script, *self.args])


class Result(NamedTuple):
    """How a script ended. exit_code: negative for a signal. calls: what it did outside itself, in order."""

    exit_code: int
    stdout: str
    stderr: str
    calls: list[Call]
    seconds: float

    def message(self, version: str) -> str:
        """What a person reads: 6.10 takes all of stderr, 7.x what does not look like a log line."""
        lines = self.stderr.splitlines()
        if version.startswith("6"):
            return " ".join(lines)
        return "".join(line for line in lines if not _LOG_LINE.match(line))

    def log(self) -> list[tuple[str, str, str]]:
        """The lines that oned 7.x logs: (severity, object id or "", text)."""
        found = (_LOG_LINE.match(line) for line in self.stderr.splitlines())
        return [(line[1], line[2] or "", line[3]) for line in found if line]


class StepFailed(Exception):
    """A script failed, or answered what oned cannot read."""

    def __init__(self, command: Command, result: Result, message: str) -> None:
        super().__init__(f"{command}: {message}")
        self.command = command
        self.result = result
        self.message = message


Steps = Generator[Command, Result, T]


def datastore_command(mad: str, action: str, object_id: int, document: str) -> Command:
    """As one_datastore starts a script: the id as argument, the document in base64."""
    return Command(f"datastore/{mad}/{action}", (str(object_id),), base64.b64encode(document.encode()))


def tolerated(command: Command) -> Steps[None]:
    """A script whose failure changes nothing for oned."""
    try:
        yield command
    except StepFailed:
        return


def judged(command: Command, result: Result, version: str) -> StepFailed | None:
    """What oned makes of a result: None when it takes it for success."""
    if result.exit_code != 0:
        return StepFailed(command, result, result.message(version) or f"exit code {result.exit_code}")
    pattern = _expected(command)
    if pattern is not None and not re.fullmatch(pattern, result.stdout):
        return StepFailed(command, result, f"answer not understood: {result.stdout!r}")
    return None


def _expected(command: Command) -> str | None:
    if command.script.startswith("datastore/"):
        return ANSWERS.get(command.name)
    if command.script.startswith("vmm/"):
        # oned takes the first line for what it asked for, and checks nothing.
        return None
    # one_tm ignores what a script prints, but nothing of ours has a reason to print.
    return ANSWERS["monitor"] if command.name == "monitor" else ""
