"""UEFI variables on a host: templates that are files there, and the device that gets a copy of one."""

from __future__ import annotations

import base64

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.vmdir import device

# Flash for variables is 64 MiB on ARM, and less than one on x86.
MAX_SIZE = 64 << 20
_READ = (
    PRELUDE
    + r"""
[[ $(realpath -m -- "$1") == "$(realpath -m -- "$3")"/* ]] || fail "a link leads out of $3; put a copy there"
[ -f "$1" ] || fail "$1 is not a file there"
[ "$(stat -L -c %s -- "$1")" -le "$2" ] || fail "$1 is too large for UEFI variables"
exec base64 -w 0 -- "$1"
"""
)
_FILL = PRELUDE + 'wait_for "$1"; exec dd of="$1" bs=1M iflag=fullblock conv=notrunc,fsync status=none\n'
# QEMU writes flash through the host's cache and waits for nothing; opened to write, a device can be synced.
_FLUSH = PRELUDE + 'wait_for "$1"; exec dd if=/dev/null of="$1" conv=notrunc,fsync status=none\n'


def read(shell: Shell, path: str, directory: str, whose: str) -> bytes:
    """A template that is a file on the host, below a directory even when all links are followed."""
    words = (path, str(MAX_SIZE), directory)
    return base64.b64decode(shell.run(_READ, *words, what=f"{whose}: reading {path}"))


def fill(shell: Shell, volume: str, content: bytes) -> None:
    """Write a template to the device of an attached volume; on the disk when this returns."""
    shell.run(_FILL, device(volume), what=f"writing volume {volume}", stdin=content)


def flush(shell: Shell, volume: str) -> None:
    """What the host still has in its cache of an attached volume is on the disk when this returns."""
    shell.run(_FLUSH, device(volume), what=f"flushing volume {volume}")
