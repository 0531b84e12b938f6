"""The installed driver in a cloud of the lab, with a stopwatch in the front-end's view of the file system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import ENVIRONMENT, HOME, Lab

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_INSTALLED_PYTHON = "usr/lib/storpool-addon/bin/python3"


class Failed(Exception):
    """What was to be measured did not work: its numbers would mean nothing."""


class Run(NamedTuple):
    """How a measured program ended."""

    status: int
    ms: float
    stdout: str
    stderr: str


class World(NamedTuple):
    """python: the interpreter that the installed scripts name in their first line."""

    lab: Lab
    python: str
    stopwatch: subprocess.Popen[str]

    def measure(self, argv: Sequence[str], stdin: bytes = b"") -> Run:
        """Run a program on the front-end and take its time; Failed when it does not end well."""
        assert self.stopwatch.stdin and self.stopwatch.stdout
        self.stopwatch.stdin.write(json.dumps({"argv": list(argv), "stdin": stdin.decode()}) + "\n")
        self.stopwatch.stdin.flush()
        run = Run(**json.loads(self.stopwatch.stdout.readline()))
        if run.status:
            raise Failed(f"{' '.join(argv)}: exit code {run.status}: {run.stderr.strip()}")
        return run

    def bare(self) -> Run:
        """The interpreter's own start and end."""
        return self.measure([self.python, "-I", "-c", "pass"])

    def script(self, command: Command) -> Run:
        """A script of the driver."""
        return self.measure(command.argv, command.stdin)


@contextmanager
def world(directory: str) -> Iterator[World]:
    """A new world in a directory; it and all its processes end with the context."""
    tree = install(os.path.join(directory, "tree"))
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(os.path.join(directory, "lab"), tree))
        stopwatch = stack.enter_context(_stopwatch(lab, _stubs(directory)))
        yield World(lab, os.path.join(tree, _INSTALLED_PYTHON), stopwatch)


def install(tree: str) -> str:
    """Install the driver below `tree`, as at a site."""
    os.makedirs(tree)
    argv = [sys.executable, os.path.join(CHECKOUT, "install.py"), "--root", tree]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr or done.stdout)
    return tree


def _stubs(directory: str) -> str:
    """A directory with an ssh that does nothing at all: what ssh and the host would take is not ours."""
    programs = os.path.join(directory, "stubs")
    os.makedirs(programs)
    os.symlink("/bin/true", os.path.join(programs, "ssh"))
    return programs


@contextmanager
def _stopwatch(lab: Lab, programs: str) -> Iterator[subprocess.Popen[str]]:
    program = os.path.join(CHECKOUT, "bench", "stopwatch.py")
    argv = [sys.executable, "-I", "-S", program, programs]
    child = subprocess.Popen(
        lab.hosts.action_argv(argv, ENVIRONMENT, HOME),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        # Closing its input, which leaving the context does, ends it.
        yield child
