"""A guest's memory: to a file and back by OpenNebula's own save and restore, also where they were cut off."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.hosts import stock
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.virsh import MEMORY

# A domain of OpenNebula is transient: libvirt forgets it when it has been saved. A guest that runs on must
# not be taken for one that was saved.
_GUEST = (
    stock.BEGIN
    + MEMORY
    + r"""
file=$1 domain=$2
shift 2
message=$(cat)
is_active() {
    local state
    state=$(state_of "$domain") || exit 1
    case $state in running | paused | idle) ;; *) return 1 ;; esac
}
"""
)
# A domain that is gone with its memory whole in FILE was saved by a run whose answer was lost.
_SAVE = (
    _GUEST
    + rf"""
if ! is_active && is_whole "$file"; then exit 0; fi
if ! attempt save "$@" <<<"$message"; then
    if is_active; then echo "$why" >&2; exit {stock.STILL_RUNS}; fi
    is_whole "$file" || fail "$why"
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
if [ -n "$device" ] && [ -e "$device" ]; then forget "$device" || true; fi
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
