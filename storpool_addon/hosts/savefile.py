"""The file that OpenNebula's own scripts save a guest's memory to: here a link to a volume's device."""

from __future__ import annotations

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.vmdir import device

# A file is moved out of the way under the name that kvm/save gives to one.
_TO_VOLUME = (
    PRELUDE
    + r"""
wait_for "$2"
mkdir -p "${1%/*}"
if [ -e "$1" ] && [ ! -L "$1" ]; then mv -T -- "$1" "$1.$(date +%s)"; fi
ln -sfn "$2" "$1"
"""
)
_FROM_VOLUME = (
    PRELUDE
    + r"""
if [ -e "$1" ] && [ ! -L "$1" ]; then exit 0; fi
wait_for "$2"
mkdir -p "${1%/*}"
ln -sfn "$2" "$1"
"""
)


def lead_to_volume(shell: Shell, path: str, volume: str) -> None:
    """What is written to `path` from now on goes to the volume; a file that is there is kept beside it."""
    shell.run(_TO_VOLUME, path, device(volume), what=f"linking {path}")


def lead_from_volume(shell: Shell, path: str, volume: str) -> None:
    """What is read from `path` comes from the volume, unless a file is there.

    The file is newer then: saving to the volume would have moved it away.
    """
    shell.run(_FROM_VOLUME, path, device(volume), what=f"linking {path}")
