"""Which StorPool client (SP_OURID) a host is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Callable, NamedTuple

from storpool_addon.config import Config
from storpool_addon.errors import ConfigError, HostError, OpenNebulaRefused
from storpool_addon.hosts.shell import Hosts
from storpool_addon.opennebula.host import Host, host_attribute
from storpool_addon.storpool import ClientId, conf

# storpool_confget prints `SP_OURID=11` among others; with -s it does so for another host.
_CONFGET = 'PATH=$PATH:/usr/sbin; storpool_confget ${1:+-s "$1"}\n'

Lookup = Callable[[str], "int | None"]


class Home(NamedTuple):
    """The cluster of a datastore. id: SP_CLUSTER_ID, "" when nobody said. others: of its multicluster."""

    id: str = ""
    others: tuple[str, ...] = ()


class Clients:
    """Client ids by host name and cluster; each is looked up once in a process.

    find_host gives OpenNebula's record of a host. bridges are asked about hosts that nobody else knows.
    """

    def __init__(self, config: Config, hosts: Hosts, find_host: Callable[[str], Host]) -> None:
        self._config = config
        self._hosts = hosts
        self._look_for = find_host
        # What was learned of hosts on the way: no host is asked for only to see whether it is fenced.
        self._fenced: dict[str, str] = {}
        self._known: dict[tuple[str, Home], ClientId] = {}
        self._ways: Mapping[str, Lookup] = {
            "LOCAL": self._local,
            "ONEHOST": self._onehost,
            "FROMHOST": self._from_host,
            "HOSTHOSTNAME": self._hostname,
        }

    def client_id(self, host: str, bridges: tuple[str, ...] = (), home: Home = Home()) -> ClientId:  # noqa: B008  immutable
        """The client id of a host for a datastore's volumes; ConfigError when nobody knows it.

        That of STORPOOL_CLIENT_ID_SOURCES, unless the host has one for the datastore's cluster alone.
        """
        if (host, home) not in self._known:
            found = self._of_cluster(host, bridges, home)
            self._known[host, home] = ClientId(found, found.cluster, self._fenced.get(host, ""))
        return self._known[host, home]

    def _find_host(self, name: str) -> Host:
        host = self._look_for(name)
        if host.fenced:
            self._fenced[name] = fenced_words(name, host.fenced)
        return host

    def _of_cluster(self, host: str, bridges: tuple[str, ...], home: Home) -> ClientId:
        if home == Home():
            return ClientId(self._look_up(host, bridges))
        try:
            record = self._find_host(host)
        except OpenNebulaRefused:
            # The front-end, or a gateway that runs no VMs.
            return ClientId(self._look_up(host, bridges))
        own = record.client_id_in(home.id)
        if own is not None:
            return ClientId(own)
        there = record.attributes.get("SP_CLUSTER_ID", "")
        if there in home.others:
            return ClientId(self._look_up(host, bridges), there)
        if home.id and there not in ("", home.id):
            raise ConfigError(
                f"host {host} is a client of StorPool cluster {there}, and the volume is in {home.id};"
                f" give the host {host_attribute(home.id)}, or the datastore SP_MULTICLUSTER"
            )
        return ClientId(self._look_up(host, bridges))

    def _look_up(self, host: str, bridges: tuple[str, ...]) -> int:
        tried = []
        for source in self._config.client_id_sources:
            tried.append(source)
            for found in self._ask(source, host, bridges):
                if found is not None:
                    return found
        raise ConfigError(
            f"the StorPool client id of host {host} is not known (asked {', '.join(tried)});"
            f" set SP_OURID with onehost update {host}, or give the host a section in /etc/storpool.conf"
        )

    def _ask(self, source: str, host: str, bridges: tuple[str, ...]) -> Iterator[int | None]:
        if source in self._ways:
            yield self._ways[source](host)
        elif source == "BRIDGELIST":
            for bridge in bridges:
                for name in self._spellings(host):
                    yield self._confget(bridge, name)

    def _spellings(self, host: str) -> list[str]:
        domain = self._config.common_domain
        return [host, f"{host}.{domain}"] if domain else [host]

    def _local(self, host: str) -> int | None:
        for name in self._spellings(host):
            found = conf.client_id(name)
            if found is not None:
                return found
        return None

    def _onehost(self, host: str) -> int | None:
        try:
            return self._find_host(host).client_id
        except OpenNebulaRefused:
            return None

    def _hostname(self, host: str) -> int | None:
        try:
            hostname = self._find_host(host).hostname
        except OpenNebulaRefused:
            return None
        return self._local(hostname) if hostname and hostname != host else None

    def _from_host(self, host: str) -> int | None:
        return self._confget(host, "")

    def _confget(self, host: str, section: str) -> int | None:
        try:
            printed = self._hosts.on(host).run(_CONFGET, section, what="storpool_confget", timeout_s=10)
        except HostError:
            return None
        values = dict(line.partition("=")[::2] for line in printed.splitlines())
        found = values.get("SP_OURID", "").strip("'\"")
        return int(found) if found.isdigit() else None


def fenced_words(host: str, since: str) -> str:
    """What is said when something would be attached to a fenced host. since: when, and by whom."""
    return f"host {host}, which is fenced since {since}; when it is well: storpool-addon fence --lift {host}"
