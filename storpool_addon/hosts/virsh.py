"""What a bash script on a host asks libvirt with; it stands behind the prelude."""

from __future__ import annotations

# OpenNebula's own scripts find libvirt by kvmrc. That libvirt does not know a domain counts only when it
# answers: state_of prints nothing then, and fails when nobody can say.
AT_REMOTES = r"""
kvmrc=$remotes/etc/vmm/kvm/kvmrc
uri=$(set +eu; [ ! -r "$kvmrc" ] || . "$kvmrc" >/dev/null 2>&1; echo "${LIBVIRT_URI:-qemu:///system}")
tell() { LC_ALL=C virsh --connect "$uri" "$@" </dev/null; }
state_of() {
    if tell domstate "$1" 2>/dev/null; then return; fi
    tell uri >/dev/null || fail "libvirt does not answer"
}
"""
LIBVIRT = "remotes=/var/tmp/one" + AT_REMOTES
# libvirt puts another word at the beginning of an image of a guest's memory until it is whole, and then
# refuses to show it (qemu_saveimage.c). Nothing starts from one whose beginning is overwritten.
MEMORY = r"""
is_whole() { tell save-image-dumpxml "$1" >/dev/null 2>&1; }
forget() { dd if=/dev/zero of="$1" bs=4096 count=1 conv=nocreat,notrunc,fsync status=none; }
"""
