"""A guest's memory: to a file and back by OpenNebula's own save and restore, also where they were cut off."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.hosts import stock
from storpool_addon.hosts.shell import Shell

# libvirt puts another word at the beginning of an image until it is whole (qemu_saveimage.c), and then
# refuses to show it. A domain of OpenNebula is transient: libvirt forgets it when it has been saved. That it
# does not know the domain counts only when it answers: a guest that runs on must not be
# taken for one that was saved.
_GUEST = (
    stock.BEGIN
    + r"""
file=$1 domain=$2
shift 2
message=$(cat)
is_active() {
    local state
    if ! state=$(tell domstate "$domain" 2>/dev/null); then
        tell uri >/dev/null || fail "libvirt does not answer"
        return 1
    fi
    case $state in running | paused | idle) ;; *) return 1 ;; esac
}
is_whole() { tell save-image-dumpxml "$file" >/dev/null 2>&1; }
"""
)
# A domain that is gone with its memory whole in FILE was saved by a run whose answer was lost.
_SAVE = (
    _GUEST
    + rf"""
if ! is_active && is_whole; then exit 0; fi
if ! attempt save "$@" <<<"$message"; then
    if is_active; then echo "$why" >&2; exit {stock.STILL_RUNS}; fi
    is_whole || fail "$why"
fi
"""
)
# Memory that a guest runs from again is overwritten at once where it is on a device: it would not fit the
# disks any more, and what deletes the volume may fail. Also where OpenNebula's script says that it failed,
# as it does when virsh lost the answer and the next try met the guest.
_RESTORE = (
    _GUEST
    + r"""
device=
if [ -L "$file" ]; then device=$(readlink -f -- "$file"); fi
is_active || attempt restore "$@" <<<"$message" || is_active || fail "$why"
if [ -n "$device" ] && [ -e "$device" ]; then
    dd if=/dev/zero of="$device" bs=4096 count=1 conv=nocreat,notrunc,fsync status=none || true
fi
"""
)


class Guest(NamedTuple):
    """A guest and the file of its memory, in the words of OpenNebula's scripts.

    remotes: SCRIPTS_REMOTE_DIR. home: the VM's directory on the host. words: all that the script is given.
    """

    remotes: str
    home: str
    file: str
    domain: str
    words: tuple[str, ...]
    document: bytes


def save(shell: Shell, guest: Guest) -> None:
    """Save the guest, unless that was done; HostError with stock.STILL_RUNS when it runs on."""
    _run(shell, _SAVE, guest, f"saving the memory of {guest.domain}")


def restore(shell: Shell, guest: Guest) -> None:
    """Let the guest run again from its memory, unless it does; a volume then holds no memory any more."""
    _run(shell, _RESTORE, guest, f"restoring the memory of {guest.domain}")


def _run(shell: Shell, script: str, guest: Guest, what: str) -> None:
    words = (guest.file, guest.domain, *guest.words)
    stock.run(
        shell,
        script,
        guest.remotes,
        guest.home,
        *words,
        what=what,
        timeout_s=stock.MEMORY_TIMEOUT_S,
        stdin=guest.document,
    )
