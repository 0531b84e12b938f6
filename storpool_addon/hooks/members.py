"""Which client a host is in each StorPool cluster that this OpenNebula uses, told without asking the host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from storpool_addon.errors import AddonError, StateError, StorPoolError
from storpool_addon.hooks.cutting import Cut
from storpool_addon.hosts.clients import Home
from storpool_addon.opennebula.vm import TM_MAD

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.opennebula.host import Host
    from storpool_addon.storpool import Api


def cuts_of(driver: Driver, host: Host) -> list[Cut]:
    """The host's clients, one for each API of all datastores; StateError when one cannot be told.

    An API of a cluster that the host is no client of, or that knows no such client, is left out: nothing
    there is attached to it.
    """
    found = []
    for api, datastores in _apis(driver):
        with saying_which(api.endpoint.title):
            cluster = _cluster_id(driver, api, datastores)
            if _is_member(host, cluster):
                client = driver.clients.client_id(host.name, datastores[0].bridge_list, Home(cluster))
                _check_client(driver, host, int(client), cluster)
                cut = Cut(driver.volumes(datastores[0]), client, [each.id for each in datastores])
                if cut.is_known():
                    found.append(cut)
    if not found:
        raise StateError(f"host {host.name} is known as a client by no StorPool cluster of any datastore")
    return found


@contextmanager
def saying_which(title: str) -> Iterator[None]:
    """Name the cluster that cannot be asked, and so cannot confirm anything."""
    try:
        yield
    except StorPoolError as error:
        raise StateError(f"{title} cannot confirm a fence: {error}") from None


def _apis(driver: Driver) -> list[tuple[Api, list[Datastore]]]:
    found: dict[int, tuple[Api, list[Datastore]]] = {}
    for each in driver.one.datastore_pool():
        if isinstance(each, AddonError):
            raise StateError(f"nothing is fenced while a datastore cannot be read: {each}")
        if each.tm_mad != TM_MAD:
            continue
        if driver.config.for_datastore(each).multicluster:
            raise StateError(
                f"datastore {each.id} is in a StorPool multicluster, where a fence cannot be confirmed yet;"
                " power the host off"
            )
        api = driver.storpool(each)
        found.setdefault(id(api), (api, []))[1].append(each)
    return list(found.values())


def _cluster_id(driver: Driver, api: Api, datastores: Sequence[Datastore]) -> str:
    """As a datastore says, else as global ids do: `d.n.a1z` is of cluster d.n (sptypes.py of the binding)."""
    for each in datastores:
        told = driver.config.for_datastore(each).sp_cluster_id
        if told:
            return told
    found = {".".join(each.global_id.split(".")[:2]) for each in api.attachments_list() if each.global_id}
    return found.pop() if len(found) == 1 else ""


def _is_member(host: Host, cluster: str) -> bool:
    there = host.attributes.get("SP_CLUSTER_ID", "")
    if host.client_id_in(cluster) is not None:
        return True
    return not cluster or there in ("", cluster)


def _check_client(driver: Driver, host: Host, client: int, cluster: str) -> None:
    """StateError when another host may be that client, or the host says that it is another one."""
    told = host.client_id_in(cluster) or host.client_id
    if told is not None and told != client:
        raise StateError(
            f"host {host.name} is client {client} by storpool.conf and {told} by its attributes in"
            " OpenNebula; say which before it is fenced"
        )
    for other in driver.one.hosts():
        if other.id == host.id or not _is_member(other, cluster):
            continue
        if (other.client_id_in(cluster) or other.client_id) == client:
            raise StateError(
                f"hosts {host.name} and {other.name} both have SP_OURID {client}; in different clusters, give"
                " them SP_CLUSTER_ID, and the datastores too"
            )
