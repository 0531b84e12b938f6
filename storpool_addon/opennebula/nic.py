"""The NICs of a VM and their aliases, as far as it matters which addresses a guest may send from."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from storpool_addon.errors import UsageError
from storpool_addon.opennebula.xml import Node

# What a guest may send from when its VM starts (vnm_mad/remotes/lib/security_groups_iptables.rb, nic_pre).
_ADDRESSES = (
    "IP",
    "VROUTER_IP",
    "IP6",
    "IP6_GLOBAL",
    "IP6_LINK",
    "IP6_ULA",
    "VROUTER_IP6",
    "VROUTER_IP6_GLOBAL",
    "VROUTER_IP6_LINK",
    "VROUTER_IP6_ULA",
)


class Nic(NamedTuple):
    """A NIC or an alias of one. parent_id: of an alias, None for a NIC. changing: it comes or goes just now.

    filters: addresses that are not the NIC's are dropped. alias_ids: those that it has, or is about to have.
    """

    id: int
    parent_id: int | None
    addresses: tuple[str, ...]
    filters: bool
    alias_ids: frozenset[int]
    changing: bool

    @classmethod
    def from_node(cls, node: Node) -> Nic:
        """The NIC in a NIC or NIC_ALIAS element of a VM's template. UsageError for what is no address."""
        parent = node.text("PARENT_ID")
        return cls(
            id=node.number("NIC_ID"),
            parent_id=node.number("PARENT_ID") if parent else None,
            addresses=tuple(_address(node, text) for key in _ADDRESSES if (text := node.text(key))),
            filters=node.text("FILTER_IP_SPOOFING").upper() == "YES",
            alias_ids=frozenset(int(each) for each in node.text("ALIAS_IDS").split(",") if each.isdigit()),
            changing=node.text("ATTACH").upper() == "YES",
        )


class Nics(NamedTuple):
    """All NICs of a VM."""

    vm_id: int
    nics: tuple[Nic, ...]
    aliases: tuple[Nic, ...]

    @classmethod
    def from_node(cls, node: Node) -> Nics:
        """Those in a VM element."""
        vm_id = node.number("ID")
        node = node.named(f"VM {vm_id}")
        return cls(
            vm_id,
            tuple(Nic.from_node(each) for each in node.nodes("TEMPLATE/NIC")),
            tuple(Nic.from_node(each) for each in node.nodes("TEMPLATE/NIC_ALIAS")),
        )

    def there(self, nic: Nic) -> Iterator[str]:
        """All addresses that a NIC's guest may send from: its own, and those of its aliases."""
        yield from nic.addresses
        for alias in self.aliases:
            if alias.parent_id == nic.id and alias.id in nic.alias_ids:
                yield from alias.addresses


def _address(node: Node, text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise UsageError(f"{node.name}: {text[:50]!r} is not an IP address") from None
