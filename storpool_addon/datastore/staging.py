"""A private file on the host that works, for an image that qemu-img cannot read where it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from storpool_addon.errors import AddonError, ConfigError

if TYPE_CHECKING:
    from storpool_addon.hosts.shell import Shell

TIMEOUT_S = 60.0
# What a killed run of the same import left is removed first. Only directories of our own: anybody can make
# one of that name in /var/tmp.
_MAKE = r"""
set -euo pipefail
umask 077
for old in "$1/$2".??????????; do
    if [ -d "$old" ] && [ ! -L "$old" ] && [ -O "$old" ]; then rm -rf --one-file-system -- "$old"; fi
done
directory=$(mktemp -d -- "$1/$2.XXXXXXXXXX")
: >"$directory/image"
printf '%s' "$directory"
"""
_REMOVE = 'set -eu; [ ! -e "$1" ] || rm -rf --one-file-system -- "$1"\n'


@contextlib.contextmanager
def staged(shell: Shell, directory: str, name: str) -> Iterator[str]:
    """The path of an empty file in a directory of its own, both removed at the end.

    directory: STAGING_DIR. name: of the image's volume; one import of it runs at a time.
    """
    if not directory.startswith("/"):
        raise ConfigError(f"STAGING_DIR {directory!r} is not an absolute path")
    what = f"making a directory in {directory}"
    made = shell.run(_MAKE, directory.rstrip("/"), f"storpool-{name}", what=what, timeout_s=TIMEOUT_S)
    try:
        yield f"{made}/image"
    except BaseException:
        # The next run removes what cannot be removed now; the first error must not be lost.
        with contextlib.suppress(AddonError):
            _remove(shell, made)
        raise
    _remove(shell, made)


def _remove(shell: Shell, directory: str) -> None:
    shell.run(_REMOVE, directory, what=f"removing {directory}", timeout_s=TIMEOUT_S)
