"""Disks of a running domain: in and out by OpenNebula's own scripts, and CDs in drives that stay."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.hosts import stock
from storpool_addon.hosts.shell import Shell

# virsh domblklist --details: type, device, target, source; `-` is the source of an empty drive. Paths are
# compared without the double slashes that oned writes.
_DISKS = (
    stock.BEGIN
    + r"""
domain=$1 source=${2//\/\///} target=$3
list=$(tell domblklist --details "$domain") || fail "libvirt does not know the disks of $domain"
held_by= held_kind= has_target= empty=
while read -r _ kind dev place; do
    [ "$dev" != "$target" ] || [ "$place" = - ] || has_target=1
    if [ "${place//\/\///}" = "$source" ]; then held_by=$dev held_kind=$kind; fi
    if [ "$kind" = cdrom ] && [ "$place" = - ] && [ "$empty" != "$target" ]; then empty=$dev; fi
done < <(tail -n +3 <<<"$list")
"""
)
# The document is the fifth word of OpenNebula's script as well, in base64.
_ATTACH = (
    _DISKS
    + r"""
document=$(cat)
[ -z "$held_by" ] || exit 0
stock attach_disk "${@:1:4}" "$(base64 -w 0 <<<"$document")" "${@:5}" <<<"$document"
"""
)
_INSERT = (
    _DISKS
    + r"""
[ -z "$held_by" ] || exit 0
[ -n "$empty" ] || fail "no CD drive of $domain is empty; detach a CD first, or raise T_PERSISTENT_CDROM"
block=
[ ! -b "$source" ] || block=--block
tell change-media "$domain" "$empty" "$2" --insert $block >&2
"""
)
# A drive on IDE cannot be unplugged, and one of another name than oned's was there before the CD.
_DETACH = (
    _DISKS
    + r"""
document=$(cat)
if [ "$held_kind" = cdrom ] && { [[ $held_by == hd* ]] || [ "$held_by" != "$target" ]; }; then
    tell change-media "$domain" "$held_by" --eject --force >&2
elif [ -n "$held_by" ] && [ "$held_by" != "$target" ]; then
    fail "$2 is $held_by in $domain and not $target; detach it by hand with virsh detach-disk"
elif [ -n "$held_by$has_target" ]; then
    stock detach_disk "$@" <<<"$document"
fi
"""
)


class Plug(NamedTuple):
    """A disk that comes or goes, in the words of OpenNebula's scripts.

    remotes: SCRIPTS_REMOTE_DIR. home: the VM's directory on the host. words: domain, path of the disk, target
    and its index, and what else the script is given.
    """

    remotes: str
    home: str
    words: tuple[str, ...]
    document: bytes


def attach(shell: Shell, plug: Plug) -> None:
    """Plug the disk in, unless the domain has it."""
    _run(shell, _ATTACH, plug, "attaching")


def insert(shell: Shell, plug: Plug) -> None:
    """Put the CD into an empty drive, best into that of its target, unless one holds it."""
    _run(shell, _INSERT, plug, "inserting")


def detach(shell: Shell, plug: Plug) -> None:
    """Unplug the disk, or take the CD out of a drive that stays; a disk that is not there is done."""
    _run(shell, _DETACH, plug, "detaching")


def _run(shell: Shell, script: str, plug: Plug, verb: str) -> None:
    domain, path = plug.words[:2]
    what = f"{verb} {path} of domain {domain}"
    stock.run(shell, script, plug.remotes, plug.home, *plug.words, what=what, stdin=plug.document)
