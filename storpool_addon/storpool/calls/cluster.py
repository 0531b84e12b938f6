"""API calls about the cluster's services and clients."""

from __future__ import annotations

from storpool_addon.errors import StorPoolNonsense
from storpool_addon.storpool import reading
from storpool_addon.storpool.calls.asking import Asking
from storpool_addon.storpool.records import ClientConfig, Services


class ClusterCalls(Asking):
    """A client is given by its id, SP_OURID of its host."""

    def services_list(self) -> Services:
        """All processes of the cluster; the cheapest way to see whether it answers."""
        return reading.services(self._get("ServicesList"))

    def clients_config_dump(self) -> list[ClientConfig]:
        """How far each client has followed the configuration."""
        return reading.list_of(reading.client_config, self._get("ClientsConfigDump"))

    def client_config_wait(self, client: int, *, cluster: str = "") -> ClientConfig:
        """Wait until a client has the current configuration, as the new size of a volume; not for ever.

        A client that does not get there before the deadline, as one that is down, is StorPoolUnreachable.
        cluster: another one of a multicluster, whose client it is.
        """
        data = self._get("ClientConfigWait", str(client), cluster=cluster)
        clients = reading.list_of(reading.client_config, data)
        for each in clients:
            if each.id == client:
                return each
        raise StorPoolNonsense(f"StorPool's answer about client {client} is not about it")
