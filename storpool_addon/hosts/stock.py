"""OpenNebula's own scripts on a host, in /var/tmp/one/vmm/kvm, and libvirt beside them.

What our scripts that call them begin with, how they say why one failed, and what keeps a repeat apart from a
first run whose connection was lost and that goes on there.
"""

from __future__ import annotations

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.virsh import AT_REMOTES

# A domain of many gigabytes in huge pages takes a minute or two to start.
TIMEOUT_S = 600.0
# Memory goes to a volume, or to another host, at the speed of a disk or of a network.
MEMORY_TIMEOUT_S = 12 * 3600.0
# The script's own exit code for "failed, and the guest runs as before".
STILL_RUNS = 76

# Our words come first: where the remotes are, and the VM's directory. Who works on the VM has that locked,
# unless its file system cannot (flock says 1 for "somebody else has it", and other codes for that).
# OpenNebula's scripts end with 255 where bash was told -1, which is ssh's word for a lost connection, and put
# their message between two lines of dashes: `attempt` makes one line of all that was said.
BEGIN = (
    PRELUDE
    + r"""
remotes=$1 home=$2
shift 2
"""
    + AT_REMOTES
    + r"""
mkdir -p -- "$home"
exec 9<"$home"
flock -w 600 9 || [ $? -ne 1 ] || fail "another action is at work on $home"
attempt() {
    local script=$remotes/vmm/kvm/$1 code=0
    shift
    [ -x "$script" ] || fail "$script is not there; run: onehost sync --force"
    { why=$("$script" "$@" 2>&1 >&8 8>&- 9>&-) || code=$?; } 8>&1
    why=$(grep -v '^ERROR MESSAGE' <<<"$why" | tr -s '[:space:]' ' ' | tail -c 1500 || true)
    why=${why% }
    [ "$code" -eq 0 ] || why=${why:-"$script says nothing (exit code $code)"}
    return "$code"
}
stock() { attempt "$@" || fail "$why"; }
"""
)


def run(
    shell: Shell,
    script: str,
    remotes: str,
    home: str,
    *words: str,
    what: str,
    timeout_s: float = TIMEOUT_S,
    stdin: bytes | None = None,
    forward_agent: bool = False,
) -> str:
    """Run a script that begins with BEGIN, and give what it prints.

    remotes: SCRIPTS_REMOTE_DIR. home: the VM's directory there. words: "$1" and the following.
    """
    args = (remotes, home, *words)
    return shell.run(script, *args, what=what, timeout_s=timeout_s, stdin=stdin, forward_agent=forward_agent)
