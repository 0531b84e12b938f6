"""The directory of programs that comes first on an action's PATH in the lab."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import sys

from storpool_addon.lab import standin
from storpool_addon.lab.hosts import NoHosts

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Each of them builds context images.
ISO_BUILDERS = ("xorriso", "genisoimage", "mkisofs")
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Everything that the driver starts, or may start one day, and that is worth counting and breaking.
WATCHED = (
    "qemu-*", "mkfs", "mkfs.*", "mke2fs", "mkswap", "xorriso", "genisoimage", "mkisofs", "blockdev",
    "timeout", "dd", "tar", "rsync", "curl", "wget", "gzip", "bzip2", "xz", "zstd", "lz4", "sha256sum",
    "md5sum", "virsh", "systemd-run", "cgexec",
)  # fmt: skip


def is_there(*names: str, path: str = SYSTEM_PATH) -> bool:
    """Whether the machine has one of these programs."""
    return any(shutil.which(name, path=path) for name in names)


def program(name: str) -> str:
    """The path of a program of the machine."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise NoHosts(f"hosts cannot be played here: the program {name} is not installed")
    return found


def write_watchers(directory: str, desk: str, *more: str) -> None:
    """A watcher in the place of every program that an action may start. more: names beyond the usual ones."""
    watched = os.path.join(directory, ".watched")
    write_stub(watched, f"tool({desk!r}, {directory!r})")
    for name in {*_watched_programs(), *more}:
        os.symlink(".watched", os.path.join(directory, name))
    _write_setpriv(directory)


def _write_setpriv(programs: str) -> None:
    """setpriv, which the driver puts before every child: what is not watched by name is watched here."""
    own = os.path.join(programs, "of-setpriv")
    os.mkdir(own)
    os.symlink("../.watched", os.path.join(own, "setpriv"))
    script = (
        f'#!/bin/sh\nfor word; do [ "$next" ] && break; [ "$word" = -- ] && next=1; done\n'
        f'[ -e "{programs}/$word" ] && exec {program("setpriv")} "$@"\nexec "{own}/setpriv" "$@"\n'
    )
    _write_executable(os.path.join(programs, "setpriv"), script)


def write_stub(path: str, call: str) -> None:
    """A program that calls a function of `standin`."""
    _write_executable(path, stub(standin.__name__, call))


def stub(module: str, call: str) -> str:
    """The text of a program that calls a function of a module of the lab."""
    head = f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {CHECKOUT!r})\n"
    return f"{head}from {module} import *\n{call}\n"


def _write_executable(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def _watched_programs() -> set[str]:
    # Thousands of names for each new world: one pattern for all of them is a hundred times as fast.
    watched = re.compile("|".join(map(fnmatch.translate, WATCHED)))
    directories = [each for each in SYSTEM_PATH.split(":") if os.path.isdir(each)]
    return {name for each in directories for name in os.listdir(each) if watched.match(name)}
