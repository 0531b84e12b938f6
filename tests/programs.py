"""What a test says about the programs that it cannot do without: `@needs("qemu-img")`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from storpool_addon.lab.programs import ISO_BUILDERS, SYSTEM_PATH, is_there

ALTERNATIVES = {"xorriso": ISO_BUILDERS}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test where this machine lacks one of the programs."""
    return pytest.mark.needs(*programs)


def require(*programs: str) -> None:
    """Skip the test that is running where this machine lacks one of the programs."""
    lacking = [program for program in programs if not is_there(*ALTERNATIVES.get(program, (program,)))]
    if lacking:
        pytest.skip(f"{lacking[0]} is not installed")


def run(program: str, *words: str) -> str:
    """What a program prints that a test makes its material with; skips the test where it is missing."""
    require(program)
    path = shutil.which(program, path=SYSTEM_PATH)
    done = subprocess.run([path or program, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
