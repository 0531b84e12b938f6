"""The directory of a VM on a host: links to the devices of its disks, and the directory as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import IO

from storpool_addon.errors import UsageError
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell

DEVICES = "/dev/storpool"
MAKE_TIMEOUT_S = 300.0
# <datastore location>/<system datastore id>/<VM id>: nothing else is ever removed or moved.
_DIRECTORY = re.compile(r"(/[^/]+)*/[0-9]+/[0-9]+", re.ASCII)

_FUNCTIONS = (
    PRELUDE
    + r"""
link() {
    [ ! -e "$1" ] || [ -L "$1" ] || fail "$1 is a file, not a link to a StorPool device; move it away"
    mkdir -p "${1%/*}"
    ln -sfn "$2" "$1"
}
"""
)
_LINK = _FUNCTIONS + 'while [ $# -gt 0 ]; do wait_for "$2"; link "$1" "$2"; shift 2; done\n'
_MAKE = (
    _FUNCTIONS
    + 'path=$1 device=$2; shift 2; wait_for "$device"; "$@" "$device" >/dev/null; link "$path" "$device"\n'
)
# A context image of an earlier driver is a file: the new one replaces it.
_WRITE = (
    _FUNCTIONS
    + 'wait_for "$2"; dd of="$2" bs=1M iflag=fullblock conv=notrunc,fsync status=none\n'
    + '[ -L "$1" ] || rm -f "$1"; link "$1" "$2"\n'
)
_UNLINK = _FUNCTIONS + 'for disk; do if [ -L "$disk" ]; then rm -f "$disk"; fi; rm -f "$disk.monitor"; done\n'
# Out of its place in one step: a part of a directory could be taken for the whole.
CLEAR = 'rm -rf --one-file-system "$1.gone"\n'
REMOVE = CLEAR + '[ -e "$1" ] || exit 0\nmv -T "$1" "$1.gone"\n' + CLEAR
_REMOVE = _FUNCTIONS + REMOVE
_MAKE_DIRECTORY = _FUNCTIONS + 'mkdir -p "$1"\n'


def device(volume: str) -> str:
    """The device of an attached volume on its host. volume: its name, or ~globalId (`Api.reference`)."""
    return f"{DEVICES}-byid/{volume[1:]}" if volume.startswith("~") else f"{DEVICES}/{volume}"


def check(directory: str, vm_id: int) -> None:
    """UsageError unless it is that VM's own directory; to be asked before anything is done."""
    if checked(directory).rpartition("/")[2] != str(vm_id):
        raise UsageError(f"{directory!r} is not the directory of VM {vm_id}")


def link(shell: Shell, disks: Iterable[tuple[str, str]]) -> None:
    """Make each `(path, volume)` a link to the volume's device, once the device is there."""
    words = [word for path, volume in disks for word in (path, device(volume))]
    shell.run(_LINK, *words, what=f"linking {', '.join(words[::2])}")


def make(shell: Shell, path: str, volume: str, command: Sequence[str]) -> None:
    """Run `command` (mkfs, mkswap) on the volume's device, then link it."""
    what = f"{command[0]} on volume {volume}"
    shell.run(_MAKE, path, device(volume), *command, what=what, timeout_s=MAKE_TIMEOUT_S)


def write(shell: Shell, path: str, volume: str, content: IO[bytes]) -> None:
    """Fill the volume with `content`, then link it."""
    shell.run(
        _WRITE, path, device(volume), what=f"writing volume {volume}", timeout_s=MAKE_TIMEOUT_S, stdin=content
    )


def unlink(shell: Shell, paths: Sequence[str]) -> None:
    """Remove the links of disks; a path that is no link is left alone."""
    shell.run(_UNLINK, *paths, what=f"removing {', '.join(paths)}")


def remove(shell: Shell, directory: str) -> None:
    """Remove a VM's directory."""
    shell.run(_REMOVE, checked(directory), what=f"removing {directory}", timeout_s=MAKE_TIMEOUT_S)


def make_directory(shell: Shell, directory: str) -> None:
    """Make a VM's directory."""
    shell.run(_MAKE_DIRECTORY, checked(directory), what=f"making {directory}")


def checked(directory: str) -> str:
    """The path of a VM's directory as it was given; UsageError for any other path."""
    if not _DIRECTORY.fullmatch(directory) or ".." in directory.split("/"):
        raise UsageError(f"{directory!r} is not the directory of a VM (<datastores>/<id>/<VM id>)")
    return directory
