"""A guest whose memory lies on a device for a moment; its host brings it back, whoever dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storpool_addon.hosts.guest import DOMAIN
from storpool_addon.hosts.hold import HOLD, NOT_LET_GO, Hold
from storpool_addon.hosts.process import Processes, says
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.virsh import MEMORY

# What writing or reading the memory may take, and how long a guest waits for a StorPool that does not answer.
MEMORY_S, HOLD_S = 3600.0, 60
_SAVED = b"saved\n"

# Once a guest runs from the image nothing is to start from it again. A save that is under way, of whoever
# died, is ended. A libvirt that is being restarted is waited for: what it does not say is no answer.
_BACK = (
    DOMAIN
    + MEMORY
    + r"""
domain=$1 device=$2
is_saving() { ! tell domjobinfo "$domain" 2>/dev/null | grep -q '^Job type: *None'; }
bring_back() {
    local try lost=0
    for ((try = 0; try < $1; try++)); do
        if ! tell uri >/dev/null; then :
        elif (runs); then
            is_saving || return 0
            tell domjobabort "$domain" >&2 || true
        elif is_whole "$device"; then
            if tell restore "$device" >&2; then forget "$device"; return 0; fi
        else
            lost=$((lost + 1))
            [ "$lost" -lt 3 ] || return 1
        fi
        sleep 0.5
    done
    return 1
}
"""
)
_WATCH = (
    _BACK
    + r"""
while [ -e "/proc/$3/exe" ]; do sleep 0.5; done
bring_back 600
"""
)
# Ends when the guest runs again: after standard input has ended (we are done, or dead) or $3 seconds.
_SAVE = (
    _BACK
    + HOLD
    + r"""
limit=$3 watch=$4
let_go() { bring_back 20; }
wait_for "$device"
# A run that was killed may be saving it still, or bringing it back: its memory is not to be touched then.
for ((try = 0; try < 60; try++)); do if runs && ! is_saving; then break; fi; sleep 0.5; done
runs || fail "domain $domain does not run"
! is_saving || fail "libvirt is at work on domain $domain; see to it with virsh domjobinfo, then try again"
forget "$device"
watched_by "$watch" storpool-addon-back "$domain" "$device" $$
tell save "$domain" "$device" >&2
sync -- "$device"
hold saved "$limit"
"""
)


@contextmanager
def saved(processes: Processes, shell: Shell, domain: str, device: str) -> Iterator[None]:
    """Keep a guest's memory on a device of its host, and nowhere else, for as long as the block lasts.

    HostError when it could not be saved, when the block took too long, or when the guest is not back.
    """
    hold = Hold.begin(
        processes,
        shell,
        _SAVE,
        *(domain, device, str(HOLD_S), _WATCH),
        what=f"saving the memory of {domain}",
        timeout_s=2 * MEMORY_S + HOLD_S,
        patience_s=MEMORY_S,
    )
    if not says(hold.child, _SAVED, MEMORY_S):
        _end(hold)
        raise hold.error(None, "the host did not say that it is saved")
    try:
        yield
    finally:
        _end(hold)


def _end(hold: Hold) -> None:
    """The guest runs then."""
    error = hold.end()
    if error is not None and error.exit_code_there == NOT_LET_GO:
        why = f"the guest could not be brought back ({error.last_line}); virsh restore does it from there"
        raise hold.error(NOT_LET_GO, why)
    if error is not None:
        raise error
