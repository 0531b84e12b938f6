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
# An archive is first written to the second half of the device, then to its beginning, and is taken out of the
# second half again: whenever this ends, one of the two is whole, and the bash addon finds the newest at the
# beginning. The rest of each half becomes zeros: a longer archive of before would end in it. What the host
# remembers of the device is dropped (`dd iflag=nocache count=0`), so that the device itself is compared.
_SAVE = (
    PRELUDE
    + r"""
wait_for "$2"
device=$2 half=$(($3 / 2))
archive=$(mktemp -- "$1/.tpm.XXXXXXXXXX")
trap 'rm -f -- "$archive"' EXIT
tar -C "$1" -cf - tpm | gzip -n >"$archive"
[ "$(stat -c %s -- "$archive")" -le "$half" ] || fail "the TPM's state in $1 is larger than $half bytes"
truncate -s "$half" -- "$archive"
write_at() {
    dd if="$archive" of="$device" bs=1M seek="$1" oflag=seek_bytes conv=notrunc,fsync status=none
    dd if="$device" of=/dev/null iflag=nocache count=0 status=none
    cmp -n "$half" -i "0:$1" -- "$archive" "$device"
}
write_at "$half"
write_at 0
dd if=/dev/zero of="$device" bs=4096 count=1 seek="$half" oflag=seek_bytes conv=notrunc,fsync status=none
"""
)
# gzip ends with 2 when it warns, of what follows the archive; a broken archive is 1.
_RESTORE = (
    PRELUDE
    + r"""
wait_for "$2"
mkdir -p "$1"
new=$(mktemp -d -- "$1/.tpm.XXXXXXXXXX")
trap 'rm -rf -- "$new"' EXIT
dd if="$2" of="$new/second" bs=1M skip=$(($3 / 2)) iflag=skip_bytes status=none
is_empty() { [ "$(head -c 2 -- "$1" | od -An -tx1 | tr -d ' \n')" = 0000 ]; }
unpack() {
    local code=0
    gzip -dc <"$1" >"$new/tar" 2>"$new/why" || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 2 ] || return 1
    tar -C "$new" --no-same-owner -xf "$new/tar" 2>"$new/why" || return 1
    [ -n "$(ls -A "$new/tpm" 2>"$new/why")" ]
}
if ! is_empty "$2" && unpack "$2"; then :
elif ! is_empty "$new/second"; then
    rm -rf -- "$new/tpm"
    unpack "$new/second" || fail "$(tail -n 1 "$new/why")"
elif is_empty "$2"; then exit 0
else fail "$(tail -n 1 "$new/why")"; fi
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


def forget(shell: Shell, directory: str) -> None:
    """The state in the VM's directory goes: the one on its volume is what counts."""
    shell.run(PRELUDE + 'rm -rf -- "$1/tpm"\n', directory, what=f"removing {directory}/tpm")


def save(shell: Shell, directory: str, volume: str, size: int) -> None:
    """Save the state in the VM's directory to the attached volume, of `size` bytes; half of that may be used.

    However it ends, the volume has this state or that of before, whole.
    """
    shell.run(_SAVE, directory, device(volume), str(size), what=f"saving {directory}/tpm to volume {volume}")


def restore(shell: Shell, directory: str, volume: str, size: int) -> None:
    """The state on the attached volume in the VM's directory, unless what is there is as new.

    HostError for an archive that is not whole; an empty volume holds no state.
    """
    what = f"restoring {directory}/tpm from volume {volume}"
    shell.run(_RESTORE, directory, device(volume), str(size), what=what)


def put(shell: Shell, directory: str, archive: bytes) -> None:
    """Replace the state in the VM's directory by that of an archive, packed or not, as a backup has it.

    HostError for an archive that is not whole; then the state of before is still there.
    """
    shell.run(_PUT, directory, what=f"replacing {directory}/tpm", stdin=archive)
