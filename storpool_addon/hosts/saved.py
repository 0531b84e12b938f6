"""A guest whose memory lies on a device for a moment; its host brings it back, whoever dies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from storpool_addon.errors import HostError
from storpool_addon.hosts.guest import DOMAIN
from storpool_addon.hosts.process import Finished, Processes, describe, says
from storpool_addon.hosts.shell import Shell

# What writing or reading the memory may take, and how long a guest waits for a StorPool that does not answer.
MEMORY_S, HOLD_S = 3600.0, 60
_SAVED = b"saved\n"
_LATE, _NOT_BACK = 75, 76

# libvirt shows an image only when it is whole (qemu_saveimage.c). Once a guest runs from it its beginning is
# overwritten: nothing starts from it again. A save that is under way, of whoever died, is ended. A libvirt
# that is being restarted is waited for: what it does not say is no answer.
_BACK = (
    DOMAIN
    + r"""
domain=$1 device=$2
is_whole() { tell save-image-dumpxml "$device" >/dev/null 2>&1; }
forget() { dd if=/dev/zero of="$device" bs=4096 count=1 conv=nocreat,notrunc,fsync status=none; }
is_saving() { ! tell domjobinfo "$domain" 2>/dev/null | grep -q '^Job type: *None'; }
bring_back() {
    local try lost=0
    for ((try = 0; try < $1; try++)); do
        if ! tell uri >/dev/null; then :
        elif (runs); then
            is_saving || return 0
            tell domjobabort "$domain" >&2 || true
        elif is_whole; then
            if tell restore "$device" >&2; then forget; return 0; fi
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
# A session of its own, which outlives the connection and the script.
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
    + r"""
hold=$3 watch=$4
trap '' PIPE
trap 'trap "" TERM HUP INT; exit 143' TERM HUP INT
finish() {
    code=$?
    trap '' TERM HUP INT
    trap - EXIT
    if bring_back 20; then kill -KILL -- "-$watcher" 2>/dev/null; else code=76; fi
    exit "$code"
}
wait_for "$device"
# A run that was killed may be saving it still, or bringing it back: its memory is not to be touched then.
for ((try = 0; try < 60; try++)); do if runs && ! is_saving; then break; fi; sleep 0.5; done
runs || fail "domain $domain does not run"
! is_saving || fail "libvirt is at work on domain $domain; see to it with virsh domjobinfo, then try again"
forget
setsid bash -c "$watch" storpool-addon-back "$domain" "$device" $$ </dev/null >/dev/null 2>&1 &
watcher=$!
trap finish EXIT
tell save "$domain" "$device" >&2
sync -- "$device"
echo saved
code=0
read -r -t "$hold" _ || code=$?
[ "$code" -le 128 ] || exit 75
"""
)


@contextmanager
def saved(processes: Processes, shell: Shell, domain: str, device: str) -> Iterator[None]:
    """Keep a guest's memory on a device of its host, and nowhere else, for as long as the block lasts.

    HostError when it could not be saved, when the block took too long, or when the guest is not back.
    """
    what = f"saving the memory of {domain}"
    argv = shell.command(_SAVE, domain, device, str(HOLD_S), _WATCH, timeout_s=2 * MEMORY_S + HOLD_S)
    child = processes.start(argv, stdin=subprocess.PIPE)
    if not says(child, _SAVED, MEMORY_S):
        _end(processes, shell, child, what)
        raise HostError(shell.name, what, None, "the host did not say that it is saved")
    try:
        yield
    finally:
        _end(processes, shell, child, what)


def _end(processes: Processes, shell: Shell, child: subprocess.Popen[bytes], what: str) -> None:
    """End the script by ending its input; the guest runs then."""
    try:
        processes.finish(child, timeout_s=MEMORY_S)
    except Finished as ended:
        last_line = ended.last_line or describe(ended, MEMORY_S)
        if ended.exit_code == _LATE:
            last_line = "it took too long, and the guest went on before the end"
        if ended.exit_code == _NOT_BACK:
            last_line = f"the guest could not be brought back ({last_line}); virsh restore does it from there"
        raise HostError(shell.name, what, ended.exit_code, last_line) from None
