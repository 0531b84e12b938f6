"""What a running guest gets of its host's CPUs when they are scarce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.virsh import LIBVIRT
from storpool_addon.opennebula.shares import V1, V2

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


def give(shell: Shell, domain: str, cpus: float) -> None:
    """Let a running domain have as much as OpenNebula gives one with so many CPUs at its start."""
    words = (domain, str(V1.of(cpus)), str(V2.of(cpus)))
    shell.run(_GIVE, *words, what=f"giving domain {domain} its share of the CPUs")
