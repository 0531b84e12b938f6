"""The state of a VM's virtual TPM: a directory `tpm` in the VM's directory, and an archive of it on a volume.

OpenNebula's own scripts keep the directory: kvm/shutdown copies libvirt's state there, kvm/deploy back again
(7.0, vtpm_setup). The archive is a tar packed with gzip at the beginning of the device, as in the bash addon.
"""

from __future__ import annotations

import re

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.vmdir import device

# A domain that OpenNebula started is known by its UUID, under which libvirt keeps the state.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_BACKUP = PRELUDE + 'sudo -n "$1" backup "$2" "$3"\n'
_IS_THERE = PRELUDE + 'if [ -d "$1/tpm" ] && [ -n "$(ls -A "$1/tpm")" ]; then echo yes; fi\n'
# The rest of the device becomes zeros: a longer archive of before would otherwise end in it.
_SAVE = (
    PRELUDE
    + r"""
wait_for "$2"
archive=$(mktemp -- "$1/.tpm.XXXXXXXXXX")
trap 'rm -f -- "$archive"' EXIT
tar -C "$1" -cf - tpm | gzip -n >"$archive"
[ "$(stat -c %s -- "$archive")" -le "$3" ] || fail "the TPM's state in $1 is larger than $3 bytes"
truncate -s "$3" -- "$archive"
dd if="$archive" of="$2" bs=1M conv=notrunc,fsync status=none
cmp -n "$3" -- "$archive" "$2"
"""
)
# gzip ends with 2 when it warns, of what follows the archive; a broken archive is 1.
_RESTORE = (
    PRELUDE
    + r"""
wait_for "$2"
[ "$(head -c 2 -- "$2" | od -An -tx1 | tr -d ' \n')" != 0000 ] || exit 0
mkdir -p "$1"
new=$(mktemp -d -- "$1/.tpm.XXXXXXXXXX")
trap 'rm -rf -- "$new"' EXIT
code=0
gzip -dc <"$2" >"$new/tar" 2>"$new/why" || code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 2 ] || fail "$(tail -n 1 "$new/why")"
tar -C "$new" --no-same-owner -xf "$new/tar"
[ -n "$(ls -A "$new/tpm")" ]
state=tpm/tpm2-00.permall
if [ -e "$1/$state" ] && ! [ "$new/$state" -nt "$1/$state" ]; then exit 0; fi
sync -f "$new"
rm -rf -- "$1/tpm"
mv -T -- "$new/tpm" "$1/tpm"
"""
)
# What is put there counts as new: a volume with the state of before must not come back over it.
_PUT = (
    PRELUDE
    + r"""
mkdir -p "$1"
new=$(mktemp -d -- "$1/.tpm.XXXXXXXXXX")
trap 'rm -rf -- "$new"' EXIT
cat >"$new/packed"
if [ "$(head -c 2 -- "$new/packed" | od -An -tx1 | tr -d ' \n')" = 1f8b ]; then
    gzip -dc <"$new/packed" >"$new/tar"
else
    mv -- "$new/packed" "$new/tar"
fi
tar -C "$new" --no-same-owner -m -xf "$new/tar"
[ -n "$(ls -A "$new/tpm" 2>/dev/null)" ] || fail "the archive holds no directory tpm"
sync -f "$new"
rm -rf -- "$1/tpm"
mv -T -- "$new/tpm" "$1/tpm"
"""
)


def backup(shell: Shell, program: str, uuid: str, directory: str) -> None:
    """Copy the state of a TPM that runs into the VM's directory, with OpenNebula's own program."""
    if _UUID.fullmatch(uuid):
        shell.run(_BACKUP, program, uuid, directory, what=f"{program} of {directory}")


def is_there(shell: Shell, directory: str) -> bool:
    """Whether the VM's directory holds the state of a TPM."""
    return bool(shell.run(_IS_THERE, directory, what=f"reading {directory}/tpm"))


def save(shell: Shell, directory: str, volume: str, size: int) -> None:
    """Fill the attached volume, of `size` bytes, with the state in the VM's directory."""
    shell.run(_SAVE, directory, device(volume), str(size), what=f"saving {directory}/tpm to volume {volume}")


def restore(shell: Shell, directory: str, volume: str) -> None:
    """The state on the attached volume in the VM's directory, unless what is there is as new.

    HostError for an archive that is not whole; an empty volume holds no state.
    """
    shell.run(_RESTORE, directory, device(volume), what=f"restoring {directory}/tpm from volume {volume}")


def put(shell: Shell, directory: str, archive: bytes) -> None:
    """Replace the state in the VM's directory by that of an archive, packed or not, as a backup has it.

    HostError for an archive that is not whole; then the state of before is still there.
    """
    shell.run(_PUT, directory, what=f"replacing {directory}/tpm", stdin=archive)
