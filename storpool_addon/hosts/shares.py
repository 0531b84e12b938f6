"""What a running guest gets of its host's CPUs when they are scarce."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.virsh import LIBVIRT

if TYPE_CHECKING:
    from storpool_addon.hosts.shell import Shell

_GIVE = (
    PRELUDE
    + LIBVIRT
    + r"""
domain=$1 shares=$2 weight=$3
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || shares=$weight
tell schedinfo "$domain" --live --set "cpu_shares=$shares" >&2
"""
)
# As OpenNebula writes a domain (LibVirtDriverKVM.cc): for a CPU, least, most; of cgroup v1 and of v2.
_SCALES = ((1024, 2, 262144), (100, 1, 10000))


def give(shell: Shell, domain: str, cpus: float) -> None:
    """Let a running domain have as much as OpenNebula gives one with so many CPUs at its start."""
    words = (str(min(max(math.ceil(base * cpus), least), most)) for base, least, most in _SCALES)
    shell.run(_GIVE, domain, *words, what=f"giving domain {domain} its share of the CPUs")
