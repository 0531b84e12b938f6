"""`storpool-addon` on the lab's front-end, as an administrator or a timer runs it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import ENVIRONMENT, Lab

TIMEOUT_S = 60


def command(lab: Lab, *words: str) -> Command:
    """For Lab.run: one at a time, each call that it makes is counted."""
    return Command(f"../../../..{_program(lab.tree)}", words)


def start(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """It goes on, beside whatever else runs."""
    argv = lab.hosts.action_argv([_program(lab.tree), *words], ENVIRONMENT, "/var/lib/one")
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for it: exit code, output, errors. No token is in these."""
    with process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    return process.returncode, output, errors


def run(lab: Lab, *words: str) -> tuple[int, str, str]:
    """Start it, and wait for its end."""
    code, output, errors = end(start(lab, *words))
    assert lab.simulator.token not in output + errors
    return code, output, errors


@cache
def _program(tree: str) -> str:
    return str(next(Path(tree).rglob("lib/storpool-addon/bin/storpool-addon")))
