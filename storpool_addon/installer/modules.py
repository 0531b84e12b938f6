"""The modules of others that the driver needs: where they are, and the byte code of our own."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import struct
import subprocess
from collections.abc import Iterable

from storpool_addon.errors import ConfigError, ToolError
from storpool_addon.installer.tree import Owner

# module -> requirement for pip
NEEDED = {"lxml": "lxml>=4.6", "requests": "requests>=2.25", "yaml": "PyYAML>=5.4"}
# For the exporter alone, which says so where it is missing.
WISHED = {"prometheus_client": "prometheus_client>=0.9"}
_PACKAGES = (
    "python3-lxml python3-requests python3-yaml (AlmaLinux: python3-lxml python3-requests python3-pyyaml)"
)
# The interpreter's own directories of packages, then one line for each module: where it is, if anywhere.
_FIND = """
import importlib.util, os, site, sys
print(*filter(os.path.isdir, site.getsitepackages()), sep=os.pathsep)
for module in sys.argv[1:]:
    spec = importlib.util.find_spec(module)
    print(os.path.dirname(os.path.dirname(spec.origin)) if spec else "")
"""
# Those with compiled parts for certain; requests is slow to import and has none.
_TRY = "import storpool_addon.errors, lxml.etree, yaml, importlib.util as i; i.find_spec('requests') or 1 / 0"
_TIMEOUT_S = 60


def directories(interpreter: str) -> list[str]:
    """The directories that hold the modules that we need, and the interpreter's own for what those import.

    The private environment names them itself, for an environment that sees the system's packages runs the
    `.pth` files that others put there, at the start of every script. Raises ConfigError when a module is
    nowhere, naming the system's packages.
    """
    own, places = _ask(interpreter, {**NEEDED, **WISHED})
    found = {place or _beside_us(module, interpreter) for module, place in zip({**NEEDED, **WISHED}, places)}
    return [*sorted(found - {"", *own}), *own]


def _beside_us(module: str, interpreter: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        if module in WISHED:
            return ""
        raise ConfigError(
            f"Python module {module} is not installed for {interpreter}; install the packages "
            f"{_PACKAGES}, or run install.py "
            "with --with-dependencies to have pip put them beside the driver"
        )
    return os.path.dirname(os.path.dirname(spec.origin))


def install(interpreter: str, target: str) -> None:
    """Have pip put the needed modules into `target`, all or none; ToolError with its last line."""
    new = f"{target}.new"
    shutil.rmtree(new, ignore_errors=True)
    argv = [interpreter, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    ended = subprocess.run(
        [*argv, "--upgrade", "--target", new, *NEEDED.values(), *WISHED.values()],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        last = (ended.stdout.strip() or "no message").splitlines()[-1]
        raise ToolError(f"pip could not install the needed modules into {target}: {last}")
    os.rename(new, target)


def try_out(python: str, owner: Owner) -> None:
    """Import what is needed as a script would, and as oned's user; ToolError when that fails."""
    as_owner = {"user": owner[0], "group": owner[1], "extra_groups": []} if owner else {}
    try:
        ended = subprocess.run(
            [python, "-I", "-c", _TRY],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
            cwd="/", **as_owner,
        )  # type: ignore[call-overload]  # fmt: skip
        last = "" if not ended.returncode else (ended.stderr.strip() or "no message").splitlines()[-1]
    except OSError as error:
        last = str(error)
    if last:
        who = f"user {owner[0]}" if owner else "this user"
        raise ToolError(f"{who} cannot run the driver's {python}: {last}")


def is_compiled(source: str) -> bool:
    """Whether Python would take the byte code of `source` as it is (header of PEP 552)."""
    try:
        now = os.stat(source)
        with open(importlib.util.cache_from_source(source), "rb") as opened:
            header = opened.read(16)
    except FileNotFoundError:
        return False
    size, mtime = now.st_size & 0xFFFFFFFF, int(now.st_mtime) & 0xFFFFFFFF
    return header == importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, mtime, size)


def compile_all(sources: Iterable[tuple[str, str]]) -> None:
    """Write the byte code of each (file, file as the installed system sees it)."""
    for source, seen_as in sources:
        mode = py_compile.PycInvalidationMode.TIMESTAMP
        py_compile.compile(source, dfile=seen_as, doraise=True, invalidation_mode=mode)


def _ask(interpreter: str, modules: Iterable[str]) -> tuple[list[str], list[str]]:
    """The interpreter's directories of packages, and where it has each module, "" where it does not."""
    ended = subprocess.run(
        [interpreter, "-I", "-c", _FIND, *modules],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
    )  # fmt: skip
    if ended.returncode:
        raise ToolError(
            f"{interpreter} does not run: {(ended.stderr.strip() or 'no message').splitlines()[-1]}"
        )
    own, *places = ended.stdout.split("\n")[:-1]
    return [each for each in own.split(os.pathsep) if each], places
