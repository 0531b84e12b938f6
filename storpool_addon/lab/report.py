"""What the demo prints: a line for each step while it runs, and a table at the end."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TextIO

from storpool_addon.lab.command import StepFailed
from storpool_addon.lab.console import GuestError


class Line(NamedTuple):
    """One step. problems: what differed from what was expected; empty when all was well."""

    title: str
    seconds: float
    scripts: int
    checks: int
    problems: list[str]


class Report:
    """Collects steps; their checks report here whether the world is as it should be."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self.lines: list[Line] = []
        self._problems: list[str] = []
        self._checks = 0
        self.scripts = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step of the story: timed, and failed when a check in it fails or a script does."""
        self._problems, self._checks, self.scripts = [], 0, 0
        start = time.monotonic()
        try:
            yield
        except (StepFailed, GuestError) as failure:
            self._problems.append(str(failure))
        line = Line(title, time.monotonic() - start, self.scripts, self._checks, self._problems)
        self.lines.append(line)
        mark = "FAILED" if line.problems else "ok"
        self.say(f"{len(self.lines):2}. {title}: {mark}, {line.seconds:.2f} s")
        for problem in line.problems:
            self.say(f"    {problem}")

    def expect(self, found: object, wanted: object, what: str) -> None:
        """A check: the two must be equal."""
        self._checks += 1
        if found != wanted:
            self._problems.append(f"{what}: {found!r}, expected {wanted!r}")

    def say(self, text: str) -> None:
        """A line for the reader."""
        self._out.write(text + "\n")
        self._out.flush()

    @property
    def is_well(self) -> bool:
        """Whether no step failed."""
        return not any(line.problems for line in self.lines)

    def table(self) -> None:
        """All steps once more, with their numbers."""
        width = max(20, min(60, shutil.get_terminal_size().columns - 36))
        self.say(f"\n{'step':<{width}}  {'seconds':>7}  {'scripts':>7}  {'checks':>6}  result")
        for line in self.lines:
            title = line.title if len(line.title) <= width else line.title[: width - 1] + "…"
            result = "FAILED" if line.problems else "ok"
            self.say(f"{title:<{width}}  {line.seconds:7.2f}  {line.scripts:7}  {line.checks:6}  {result}")
        total = Line(
            "total",
            sum(line.seconds for line in self.lines),
            sum(line.scripts for line in self.lines),
            sum(line.checks for line in self.lines),
            [],
        )
        result = "all as expected" if self.is_well else "NOT as expected"
        self.say(
            f"{total.title:<{width}}  {total.seconds:7.2f}  {total.scripts:7}  {total.checks:6}  {result}"
        )
