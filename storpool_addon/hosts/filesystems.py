"""File systems and swap areas made on a StorPool device."""

from __future__ import annotations

from collections.abc import Sequence

from storpool_addon.errors import UsageError

# The option with which each mkfs accepts a device that is not a partition or not empty.
_FORCE = {"ext2": "-F", "ext3": "-F", "ext4": "-F", "xfs": "-f", "btrfs": "-f", "ntfs": "-F", "vfat": "-I"}
SWAP = "swap"
KNOWN = (SWAP, *_FORCE)


def make_command(filesystem: str, options: Sequence[str] = ()) -> list[str]:
    """The argument list, without the device, that makes `filesystem` ("swap", "ext4", …).

    options: those of FS_OPTS_<filesystem> from the configuration. UsageError for an unknown one.
    """
    if filesystem == SWAP:
        return ["mkswap", "-L", "swap"]
    if filesystem not in _FORCE:
        raise UsageError(f"file system {filesystem!r} is not supported; use one of {', '.join(KNOWN)}")
    return [f"mkfs.{filesystem}", _FORCE[filesystem], *options]
