"""A guest that is ended and started again around its disks: its domain is kept in a file meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.virsh import LIBVIRT

# What libvirt may take to end or start a guest, and to read the memory of one.
END_TIMEOUT_S, START_TIMEOUT_S, RESTORE_TIMEOUT_S = 120.0, 300.0, 3600.0

DOMAIN = (
    PRELUDE
    + LIBVIRT
    + r"""
runs() {
    local state
    state=$(state_of "$domain") || exit 1
    [ -n "$state" ] && [ "$state" != "shut off" ]
}
"""
)
_RUNS = DOMAIN + "domain=$1\nif runs; then echo yes; fi\n"
# --inactive leaves out what libvirt assigns at each start; a disk that was attached later is in it.
_END = (
    DOMAIN
    + r"""
domain=$1 file=$2
if runs; then
    umask 077
    tell dumpxml --inactive --security-info "$domain" >"$file.new"
    sync -- "$file.new"
    mv -T -- "$file.new" "$file"
    tell destroy "$domain" >&2
fi
[ -e "$file" ] || : >"$file"
if [ -s "$file" ]; then echo yes; fi
"""
)
_IS_BETWEEN = DOMAIN + 'domain=$1\nif [ -e "$2" ] && ! runs; then echo yes; fi\n'
_LEAVE_OFF = PRELUDE + 'rm -f -- "$1"\n'

# vtpm_setup is OpenNebula's own: libvirt forgets the TPM of a domain that it does not keep.
_BOOT = (
    DOMAIN
    + r"""
domain=$1 file=$2 program=$3; shift 3
for device; do wait_for "$device"; done
if ! runs; then
    home=${file%/*}
    if [ -n "$program" ] && [ -d "$home/tpm" ]; then sudo -n "$program" recover "$domain" "$home" >&2; fi
    tell create "$file" >&2
fi
rm -f -- "$file"
"""
)
# The disks may be in the directory of another system datastore since (as OpenNebula's kvm/restore has it).
_RESTORE = (
    DOMAIN
    + r"""
domain=$1 file=$2 memory=$3; shift 3
for device in "$memory" "$@"; do wait_for "$device"; done
if ! runs; then
    directory=${file%/*} vm=${directory##*/} store=${directory%/*} store=${store##*/}
    xml=$(mktemp -- "$directory/.domain.XXXXXXXXXX")
    trap 'rm -f -- "$xml"' EXIT
    tell save-image-dumpxml --security-info "$memory" | sed -E "s%/[0-9]+/$vm/%/$store/$vm/%g" >"$xml"
    for try in 1 2 3; do
        if tell restore "$memory" --xml "$xml" >&2; then break; fi
        [ "$try" -lt 3 ] || exit 1
        sleep 0.5
    done
fi
rm -f -- "$file"
"""
)


class Guest:
    """The guest of a VM on its host. domain: its deploy id. file: is there from its end to its next start."""

    def __init__(self, shell: Shell, domain: str, file: str) -> None:
        self._shell = shell
        self._domain = domain
        self._file = file

    def runs(self) -> bool:
        """Whether it runs there; HostError when nobody can say."""
        return bool(self._shell.run(_RUNS, self._domain, what=f"looking for domain {self._domain}"))

    def end(self) -> bool:
        """End it at once; whether it can be booted again. One that does not run any more is no error."""
        what = f"ending domain {self._domain}"
        return bool(self._shell.run(_END, self._domain, self._file, what=what, timeout_s=END_TIMEOUT_S))

    def is_between(self) -> bool:
        """Whether somebody has ended it, and nobody has started it since."""
        what = f"looking for domain {self._domain}"
        return bool(self._shell.run(_IS_BETWEEN, self._domain, self._file, what=what))

    def leave_off(self) -> None:
        """Nobody is to start it."""
        self._shell.run(_LEAVE_OFF, self._file, what=f"removing {self._file}")

    def boot(self, devices: Sequence[str], vtpm_setup: str = "") -> None:
        """Start it anew as it was, once these devices are there. vtpm_setup: the program, if it has a TPM."""
        words = (self._domain, self._file, vtpm_setup, *devices)
        what = f"starting domain {self._domain}"
        self._shell.run(_BOOT, *words, what=what, timeout_s=START_TIMEOUT_S)

    def restore(self, memory: str, devices: Sequence[str]) -> None:
        """Let it go on where its memory was saved. memory: the device with it."""
        words = (self._domain, self._file, memory, *devices)
        what = f"restoring domain {self._domain}"
        self._shell.run(_RESTORE, *words, what=what, timeout_s=RESTORE_TIMEOUT_S)
