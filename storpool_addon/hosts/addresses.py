"""The addresses that a running guest may send from, in the sets of its host's packet filter."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from storpool_addon.hosts.prelude import PRELUDE

if TYPE_CHECKING:
    from storpool_addon.hosts.shell import Shell

# OpenNebula's network drivers make and remove the sets, by the same sudo rights. Without a set nothing is
# filtered.
_CHANGE = (
    PRELUDE
    + r"""
nic=$1
sets=$(sudo -n ipset list -name)
change() { case $'\n'$sets$'\n' in *$'\n'"$2"$'\n'*) sudo -n ipset -exist "$1" "$2" "$3" ;; esac; }
set_of() { case $1 in *:*) echo "$nic-ip6-spoofing" ;; *) echo "$nic-ip-spoofing" ;; esac; }
for address in $2; do change add "$(set_of "$address")" "$address"; done
for address in $3; do change del "$(set_of "$address")" "$address"; done
"""
)


def allow(shell: Shell, vm_id: int, nic_id: int, more: Collection[str], fewer: Collection[str]) -> None:
    """Let the guest of a NIC that filters send from more addresses, and from fewer; done already is done."""
    words = (f"one-{vm_id}-{nic_id}", " ".join(more), " ".join(fewer))
    shell.run(_CHANGE, *words, what=f"changing the addresses of NIC {nic_id} of VM {vm_id}")
