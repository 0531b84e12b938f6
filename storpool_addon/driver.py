"""What an action works with: configuration, oned, StorPool, hosts; each made when it is first used."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType

from storpool_addon.config import Config
from storpool_addon.errors import HostUnreachable
from storpool_addon.hosts.clients import Clients
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Hosts
from storpool_addon.log import Log
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.rpc import OpenNebula
from storpool_addon.opennebula.vm import Vm
from storpool_addon.storpool import Api, Endpoint, conf
from storpool_addon.volumes import Volumes


class Driver:
    """One action's way to everything outside; a context manager that ends what still runs."""

    def __init__(self, environ: Mapping[str, str], log: Log) -> None:
        self.environ = environ
        self.log = log
        self.processes = Processes()
        self._apis: dict[Endpoint, Api] = {}
        self._host_ids: dict[str, int] = {}

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.close()

    @cached_property
    def config(self) -> Config:
        """The site's configuration, without what datastores and VMs override."""
        return Config.load(self.environ)

    @cached_property
    def one(self) -> OpenNebula:
        """oned."""
        return OpenNebula.from_environment(self.environ)

    @cached_property
    def hosts(self) -> Hosts:
        """The hosts, by ssh, and the front-end itself."""
        return Hosts(self.processes, socket.gethostname())

    @cached_property
    def clients(self) -> Clients:
        """The client ids of hosts."""
        return Clients(self.config, self.hosts, self._host)

    def storpool(self, datastore: Datastore) -> Api:
        """The API of the cluster that keeps the datastore: its own SP_API_* attributes, else this host's."""
        own = {key: value for key in conf.API_KEYS if (value := datastore.attributes.get(key))}
        values = {**(conf.read_conf(missing_ok=True, environ=self.environ) if len(own) < 3 else {}), **own}
        endpoint = conf.endpoint(values)
        if endpoint not in self._apis:
            self._apis[endpoint] = Api(endpoint, log=self.log)
        return self._apis[endpoint]

    def volumes(self, datastore: Datastore) -> Volumes:
        """The volumes of a datastore."""
        return Volumes(self.storpool(datastore), self.config.for_datastore(datastore), self.log)

    def client_id(self, host: str, vm: Vm | None = None, datastore: Datastore | None = None) -> int:
        """The StorPool client id of a host.

        vm: its history holds OpenNebula's ids of its hosts, which saves asking for the whole host pool.
        datastore: its BRIDGE_LIST may be asked about the host.
        """
        if vm is not None:
            self._host_ids.update((record.hostname, record.hid) for record in vm.history)
        return self.clients.client_id(host, datastore.bridge_list if datastore else ())

    @contextmanager
    def dead_host_is_no_obstacle(self, consequence: str) -> Iterator[None]:
        """Let an action go on when a host cannot be reached: a dead host must not block a VM's cleanup."""
        try:
            yield
        except HostUnreachable as error:
            self.log(f"{error}; {consequence}")

    def _host(self, name: str) -> Host:
        known = self._host_ids.get(name)
        return self.one.host(known) if known is not None else self.one.host_by_name(name)
