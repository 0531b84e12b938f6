"""A host as oned describes it."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.opennebula.states import HostState, known
from storpool_addon.opennebula.xml import Attributes, Node

# Set by `storpool-addon fence` before it detaches anything. No attribute of a host can be taken away without
# writing all of them, which the probes do too: one that was lifted says so.
FENCED, LIFTED = "SP_FENCED", "NO"
# onehost disable leaves a host's VMs and its storage alone: only these are known to answer.
_ANSWERING = frozenset((HostState.MONITORING_MONITORED, HostState.MONITORED))


class Host(NamedTuple):
    """A host. attributes: its TEMPLATE, which holds what the probes and the administrator say about it."""

    id: int
    name: str
    state: int
    cluster_id: int
    vms: tuple[int, ...]
    attributes: Attributes

    @classmethod
    def from_node(cls, node: Node) -> Host:
        """The host in a HOST element."""
        host_id = node.number("ID")
        node = node.named(f"host {host_id}")
        return cls(
            id=host_id,
            name=node.text("NAME"),
            state=known(HostState, node.number("STATE", 0)),
            cluster_id=node.number("CLUSTER_ID", -1),
            vms=node.numbers("VMS/ID"),
            attributes=node.attributes("TEMPLATE"),
        )

    @property
    def client_id(self) -> int | None:
        """SP_OURID, the host's StorPool client id; None when it is not set, or not a number."""
        return self._id("SP_OURID")

    def client_id_in(self, cluster: str) -> int | None:
        """The host's client id in the StorPool cluster of that id alone; None when it has none of its own."""
        return self._id(host_attribute(cluster)) if cluster else None

    def _id(self, attribute: str) -> int | None:
        text = self.attributes.get(attribute, "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def fenced(self) -> str:
        """Since when, and by whom, the host is fenced; "" when it is not."""
        text = self.attributes.get(FENCED, "")
        return "" if text.upper() in ("", LIFTED) else text

    @property
    def hostname(self) -> str:
        """HOSTNAME as the host itself says it, "" when it never said."""
        return self.attributes.get("HOSTNAME", "")

    @property
    def is_on(self) -> bool:
        """Whether oned's last word about the host is that it answers."""
        return self.state in _ANSWERING


def host_attribute(cluster: str) -> str:
    """The attribute with a host's client id in one cluster: SP_OURID_D_N for cluster d.n."""
    return "SP_OURID_" + "".join(each if each.isalnum() else "_" for each in cluster.upper())
