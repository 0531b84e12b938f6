"""Which guests run on a host: to be asked of a host that may be dead, or half so."""

from __future__ import annotations

from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.virsh import LIBVIRT

TIMEOUT_S = 15.0
_RUNNING = (
    PRELUDE
    + LIBVIRT
    + r"""
timeout -k 1 8 virsh --connect "$uri" list --name </dev/null
"""
)


def running(shell: Shell) -> list[str]:
    """Names of the domains that libvirt has running there.

    HostUnreachable when the host does not answer; HostError when it does, and its libvirt does not.
    """
    said = shell.run(_RUNNING, what="asking libvirt for guests", timeout_s=TIMEOUT_S)
    return [line.strip() for line in said.splitlines() if line.strip()]
