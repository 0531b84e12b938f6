"""Transfer managers of others: scripts that do what OpenNebula's own do, and write down their calls."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.lab.hosts import Host

TM = "/var/lib/one/remotes/tm"
VMM = "/var/lib/one/remotes/vmm/kvm"

# What each begins with. A file `fails-<action>` beside the script makes it fail.
_HEAD = r"""#!/bin/bash
set -e -o pipefail
here=${0%/*} action=${0##*/}
printf '%s\n' "$action $*" >>"$here/calls"
if [ -e "$here/fails-$action" ]; then echo "$action of ${here##*/} failed, as asked" >&2; exit 1; fi
host_of() { echo "${1%%:*}"; }
path_of() { echo "${1#*:}"; }
is_disk() { [[ $1 =~ /disk\.[0-9]+$ ]]; }
on() { ssh -o BatchMode=yes -- "$1" "$2"; }
"""
# migrate_other of tm_common.sh: who is called with a sixth word tells nobody else.
_TELL = r"""
document=$(cat)
tell_others() {
    [ -z "$6" ] || return 0
    for other in $(base64 -d <<<"$document" | grep -o '<TM_MAD><!.CDATA.[^]]*' | cut -c18- | sort -u); do
        [ "$other" != "${here##*/}" ] && [ -d "$here/../$other" ] || continue
        "$here/../$other/$action" "$@" "${here##*/}" <<<"$document" || true
    done
}
"""
# The VM's directory on each host's own disk, as with `ssh`.
_SSH = {
    "premigrate": _TELL + '[ "$1" = "$2" ] || { on "$2" "rm -rf $3"; tell_others "$@"; }\n',
    "postmigrate": _TELL + 'on "$1" "rm -rf $3"; tell_others "$@"\n',
    "failmigrate": "cat >/dev/null\n",
    "mv": r"""
is_disk "$2" && exit 0
from=$(host_of "$1") old=$(path_of "$1") to=$(host_of "$2") new=$(path_of "$2")
# A dead host has nothing to give; the real one asks oned for the LCM state.
on "$from" true || exit 0
on "$to" "rm -rf $new; mkdir -p ${new%/*}"
on "$from" "tar -C ${old%/*} -cf - ${old##*/} | ssh -- $to tar -C ${new%/*} -xf -; rm -rf $old"
""",
    "delete": 'on "$(host_of "$1")" "rm -rf $(path_of "$1")"\n',
    "context": r"""
place=${*: -3:1}
on "$(host_of "$place")" "mkdir -p $(dirname "$(path_of "$place")"); echo ISO >$(path_of "$place")"
""",
    "mkimage": r"""
on "$(host_of "$3")" "mkdir -p $(dirname "$(path_of "$3")"); truncate -s $1M $(path_of "$3")"
""",
    "mkswap": r"""
on "$(host_of "$2")" "mkdir -p $(dirname "$(path_of "$2")"); truncate -s $1M $(path_of "$2")"
""",
}
# One directory that all hosts see, as with `shared`.
_SHARED = {
    **_SSH,
    "premigrate": _TELL + '[ "$1" = "$2" ] || tell_others "$@"\n',
    "postmigrate": _TELL + 'tell_others "$@"\n',
    "mv": r"""
is_disk "$2" && exit 0
old=$(path_of "$1") new=$(path_of "$2")
[ "$old" = "$new" ] || on "$(host_of "$2")" "mkdir -p ${new%/*}; mv $old $new"
""",
}
# Disks that every host reaches: nothing is to be done for a migration.
_NETWORK = dict.fromkeys(("premigrate", "postmigrate", "failmigrate"), "cat >/dev/null\n")
_MIGRATE = r"""#!/bin/bash
# kvm/migrate without shared storage: files are copied, links made anew; libvirt needs what they lead to.
set -e -o pipefail
target=$2 source=$3 directory=$4
on() { ssh -o BatchMode=yes -- "$1" "$2"; }
on "$source" "tar -C ${directory%/*} -cf - ${directory##*/} | ssh -- $target \
    'mkdir -p ${directory%/*}; tar -C ${directory%/*} -xf -'"
for disk in $(on "$source" "ls -d $directory/disk.*"); do on "$target" "[ -e $disk ] || exit 1"; done
"""


class Foreign(NamedTuple):
    """The scripts of others on the front-end."""

    frontend: Host

    def install(self, name: str) -> None:
        """Transfer manager `ssh`, `shared`, or by any other name one with disks that all hosts reach."""
        for action, body in {"ssh": _SSH, "shared": _SHARED}.get(name, _NETWORK).items():
            self.frontend.write(f"{TM}/{name}/{action}", _HEAD + body, 0o755)
        if name == "ssh":
            self.frontend.write(f"{VMM}/migrate", _MIGRATE, 0o755)

    def fails(self, name: str, action: str) -> None:
        """From now on that script fails."""
        self.frontend.write(f"{TM}/{name}/fails-{action}", "", 0o644)

    def calls(self, name: str) -> list[str]:
        """The command lines of its scripts so far."""
        return self.frontend.run(f"cat {TM}/{name}/calls").stdout.splitlines()
