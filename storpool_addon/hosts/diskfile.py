"""Disks that are files in a VM's directory, on their way to volumes: seen, copied, compared, replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.vmdir import device

TIMEOUT_S = 24 * 3600.0
# Beside a link, until all is known to be well: the file that was there before.
KEPT = ".before-volume"
_LOOK = (
    PRELUDE
    + r"""
kept=$1; shift
for path; do
    size=0 magic=- old=no
    if [ -L "$path" ]; then kind=link; elif [ -f "$path" ]; then kind=file
    elif [ -e "$path" ]; then kind=other; else kind=none; fi
    if [ $kind = file ]; then
        size=$(stat -c %s -- "$path")
        magic=$(head -c 4 -- "$path" | od -An -tx1 | tr -d ' \n')
    fi
    [ ! -e "$path$kept" ] || old=yes
    echo "$kind $size ${magic:--} $old"
done
"""
)
_COPY = (
    PRELUDE
    + r"""
wait_for "$2"
dd if="$1" of="$2" bs=4M iflag=fullblock conv=notrunc,sparse,fsync status=none
"""
)
# Read from the disk where we may say so, not from what was just written into the page cache.
_COMPARE = (
    PRELUDE
    + r"""
wait_for "$2"
[ ! -b "$2" ] || blockdev --flushbufs "$2" 2>/dev/null || true
code=0
cmp -s -n "$(stat -c %s -- "$1")" -- "$1" "$2" || code=$?
[ "$code" -le 1 ] || fail "$1 and $2 cannot be compared"
echo "$code"
"""
)
# There is no moment without the disk's name.
_REPLACE = (
    PRELUDE
    + r"""
wait_for "$2"
old=$1$3
if [ ! -L "$1" ]; then
    [ ! -e "$old" ] || [ "$1" -ef "$old" ] || fail "$old is in the way; remove it if it is not needed"
    [ -e "$old" ] || ln -- "$1" "$old"
    ln -sfn -- "$2" "$1.new"
    mv -T -- "$1.new" "$1"
fi
"""
)
_DROP = PRELUDE + 'rm -f -- "$1$2"\n'


class Seen(NamedTuple):
    """What is in the place of a disk. kind: file, link, other, none. was_replaced: by a link just now."""

    kind: str
    size: int
    is_qcow2: bool
    was_replaced: bool


def look(shell: Shell, paths: Sequence[str]) -> list[Seen]:
    """What is there, in the order of the paths."""
    printed = shell.run(_LOOK, KEPT, *paths, what=f"looking at {', '.join(paths)}")
    words = [line.split() for line in printed.splitlines()]
    return [Seen(kind, int(size), magic == "514649fb", old == "yes") for kind, size, magic, old in words]


def copy(shell: Shell, path: str, volume: str) -> None:
    """Copy a file into the attached volume, which reads zeros."""
    what = f"copying {path} to volume {volume}"
    shell.run(_COPY, path, device(volume), what=what, timeout_s=TIMEOUT_S)


def is_same(shell: Shell, path: str, volume: str) -> bool:
    """Whether the attached volume begins with all that is in the file."""
    what = f"comparing {path} with volume {volume}"
    return shell.run(_COMPARE, path, device(volume), what=what, timeout_s=TIMEOUT_S).strip() == "0"


def replace(shell: Shell, path: str, volume: str) -> None:
    """Put a link to the volume's device in the place of a file, and the file beside it."""
    shell.run(_REPLACE, path, device(volume), KEPT, what=f"replacing {path}")


def drop(shell: Shell, path: str) -> None:
    """Remove the file that a link has replaced."""
    shell.run(_DROP, path, KEPT, what=f"removing {path}{KEPT}")
