"""What a round of collecting says about itself: which clusters answered, and what they have of ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from storpool_addon.datastore.clusters import Cluster
from storpool_addon.errors import AddonError
from storpool_addon.opennebula.host import Host

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


def content(driver: Driver, found: list[Cluster], troubles: list[str]) -> dict[str, Any]:
    """As it is kept. clusters: whether each answered, its datastores, and the names of its clients.

    fenced: names of hosts, None when that is not known.
    """
    hosts: list[Host] = []
    fenced: list[str] | None = None
    try:
        hosts = driver.one.hosts()
        fenced = [each.name for each in hosts if each.fenced]
    except AddonError as error:
        troubles.append(f"names of hosts are left out: {error}")
    clusters = {each.title: _of(driver, each, hosts) for each in found}
    return {"clusters": clusters, "fenced": fenced, "troubles": len(troubles)}


def _of(driver: Driver, cluster: Cluster, hosts: list[Host]) -> dict[str, Any]:
    datastores = {
        str(each.id): [each.name, "system" if each.is_system else "image"] for each in cluster.datastores
    }
    home = {driver.config.for_datastore(each).sp_cluster_id for each in cluster.datastores} - {""}
    named = [each for host in hosts for each in clients_of(host, home)]
    return {"up": cluster.answered, "datastores": datastores, "hosts": named}


def clients_of(host: Host, home: Collection[str]) -> Iterator[list[Any]]:
    """Cluster ("" for the API's own), client id and name of a host, as actions find its client id.

    home: SP_CLUSTER_ID of the datastores on that API; none where nobody said.
    """
    there = host.attributes.get("SP_CLUSTER_ID", "")
    own = [host.client_id_in(each) for each in sorted(home)]
    usual = host.client_id if not home or there in ("", *home) else None
    for client in (*own, usual):
        if client is not None:
            yield ["", client, host.name]
            break
    if there and host.client_id is not None:
        yield [there, host.client_id, host.name]
