"""What there is to install: the package, its private environment, the scripts and the command."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storpool_addon.installer.layout import PYTHON_VERSION, Layout
from storpool_addon.installer.tree import Entry, file, link
from storpool_addon.installer.units import units

CONFIG = "addon-storpoolrc"
# Directories of files that switch something on by being there.
SWITCHES = "-tweaks.d"
_PACKAGE = "storpool_addon"


class Release(NamedTuple):
    """The entries in the order in which they are to be written, and the release's name.

    The package comes first, in a directory that nothing names yet; the `.pth` file then turns to it in one
    step, so that a process finds all of its modules, even late ones, in the release it began with.
    """

    name: str
    entries: list[Entry]


def release(checkout: str, where: Layout, interpreter: str, module_directories: Sequence[str]) -> Release:
    """What a checkout installs at `where`, but for the site's configuration file.

    interpreter: what the private environment stands on. module_directories: where its modules of others are.
    """
    package = list(_files(checkout, _PACKAGE))
    name = _name(package)
    entries = [file(f"{where.releases}/{name}/{path}", data) for path, data, _ in package]
    entries += _environment(where, interpreter, name, module_directories)
    entries += _remotes(checkout, where)
    entries += units(where)
    return Release(name, entries)


def default_config(checkout: str) -> bytes:
    """The configuration file as the project ships it."""
    with open(os.path.join(checkout, "remotes", CONFIG), "rb") as opened:
        return opened.read()


def _environment(where: Layout, interpreter: str, name: str, directories: Sequence[str]) -> Iterator[Entry]:
    # A virtual environment is no more than this (PEP 405); what `venv` adds to it is for shells and for pip.
    settings = (
        f"home = {os.path.dirname(interpreter)}\n"
        "include-system-site-packages = false\n"
        f"version = {PYTHON_VERSION}\n"
    )
    yield file(f"{where.home}/pyvenv.cfg", settings.encode())
    yield link(where.python, interpreter)
    yield file(f"{where.site_packages}/dependencies.pth", "".join(f"{d}\n" for d in directories).encode())
    yield file(f"{where.site_packages}/{_PACKAGE}.pth", f"{where.releases}/{name}\n".encode())
    command = f"{where.shebang}\nimport sys\n\nfrom {_PACKAGE}.cli import main\n\nsys.exit(main())\n"
    yield file(f"{where.home}/bin/storpool-addon", command.encode(), executable=True)
    yield link(f"{where.bin}/storpool-addon", f"{where.home}/bin/storpool-addon")


def _remotes(checkout: str, where: Layout) -> Iterator[Entry]:
    for path, data, mode in _files(os.path.join(checkout, "remotes"), "."):
        if path == CONFIG:
            continue
        target = f"{where.remotes}/{path}"
        if mode is None:
            yield link(target, os.fsdecode(data), of_oned=True)
        else:
            yield file(target, _with_shebang(data, where), executable=bool(mode & 0o100), of_oned=True)


def _with_shebang(data: bytes, where: Layout) -> bytes:
    """A script of ours runs in the private environment; one that does without the package stays as it is."""
    first, _, rest = data.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first and _PACKAGE.encode() in rest:
        return os.fsencode(where.shebang) + b"\n" + rest
    return data


def _files(top: str, below: str) -> Iterator[tuple[str, bytes, int | None]]:
    """Path relative to `top`, content and mode of every file; a link has its target and None."""
    for directory, names, files in os.walk(os.path.join(top, below)):
        names[:] = sorted(name for name in names if name != "__pycache__")
        for name in sorted(files + [n for n in names if os.path.islink(os.path.join(directory, n))]):
            real = os.path.join(directory, name)
            path = os.path.relpath(real, top)
            if os.path.islink(real):
                yield path, os.fsencode(os.readlink(real)), None
            elif not name.endswith((".pyc", "~", ".swp")):
                with open(real, "rb") as opened:
                    yield path, opened.read(), os.fstat(opened.fileno()).st_mode


def _name(package: Sequence[tuple[str, bytes, int | None]]) -> str:
    content = hashlib.sha256()
    for path, data, _ in package:
        content.update(f"{path}\0{len(data)}\0".encode())
        content.update(data)
    return content.hexdigest()[:12]
