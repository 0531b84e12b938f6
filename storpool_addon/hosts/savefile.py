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
# The program complains of what follows the archive on the device; whether all has arrived is seen in the end:
# tar knows an archive that was cut off, and libvirt writes these words last, over others
# (qemu_saveimage.c: QEMU_SAVE_MAGIC, QEMU_SAVE_PARTIAL).
_UNPACK = (
    PRELUDE
    + r"""
wait_for "$2"
type "$3" >/dev/null || fail "the program $3 (SP_COMPRESSION) is not installed there"
mkdir -p "${1%/*}"
new="$1.unpacked"
trap 'rm -f -- "$new"' EXIT
set +e
"$3" -dc <"$2" 2>/dev/null | tar -xOf - >"$new"
codes=("${PIPESTATUS[@]}")
set -e
[ "${codes[1]}" -eq 0 ] && [ "$(head -c 16 -- "$new" | tr -d '\0')" = LibvirtQemudSave ] ||
    fail "there is no whole archive of saved memory on $2"
sync -- "$new"
mv -T -- "$new" "$1"
"""
)
UNPACK_TIMEOUT_S = 3600.0


def lead_to_volume(shell: Shell, path: str, volume: str) -> None:
    """What is written to `path` from now on goes to the volume; a file that is there is kept beside it."""
    shell.run(_TO_VOLUME, path, device(volume), what=f"linking {path}")


def lead_from_volume(shell: Shell, path: str, volume: str) -> None:
    """What is read from `path` comes from the volume, unless a file is there.

    The file is newer then: saving to the volume would have moved it away.
    """
    shell.run(_FROM_VOLUME, path, device(volume), what=f"linking {path}")


def unpack(shell: Shell, path: str, volume: str, program: str) -> None:
    """The memory in the archive on an attached volume as the file `path`. program: that packed it."""
    what = f"unpacking volume {volume} to {path}"
    shell.run(_UNPACK, path, device(volume), program, what=what, timeout_s=UNPACK_TIMEOUT_S)
