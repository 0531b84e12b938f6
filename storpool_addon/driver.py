"""What an action works with: configuration, oned, StorPool, hosts; each made when it is first used."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from storpool_addon import fences, locks
from storpool_addon.config import Config
from storpool_addon.errors import ConfigError, HostUnreachable
from storpool_addon.hosts.clients import Clients, Home
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Hosts
from storpool_addon.log import LOG_FILE, Log
from storpool_addon.opennebula.datastore import TOKEN, Datastore
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.rpc import OpenNebula
from storpool_addon.opennebula.vm import Vm
from storpool_addon.storpool import Api, ClientId, Endpoint, conf
from storpool_addon.tally import Tally
from storpool_addon.volumes import Volumes

if TYPE_CHECKING:
    from storpool_addon.snapshots import Snapshots

# What a person who meets somebody else at work on an object would wait for before asking who that is.
LOCK_TIMEOUT_S = 60.0


def home_of(environ: Mapping[str, str]) -> str:
    """The home of the service user, below which the driver has its own files."""
    try:
        return environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


class Driver:
    """One action's way to everything outside; a context manager that ends what still runs."""

    def __init__(self, environ: Mapping[str, str], log: Log, tally: Tally | None = None) -> None:
        self.environ = environ
        self.log = log
        self.tally = tally or Tally()
        self.processes = Processes()
        self._apis: dict[tuple[Endpoint, tuple[str, ...]], Api] = {}
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
        config = Config.load(self.environ)
        if config.log_to_file:
            self.log.file = LOG_FILE
        for note in config.notes:
            self.log(note)
        return config

    @property
    def remotes(self) -> str:
        """Where OpenNebula has its drivers' scripts on this front-end."""
        location = self.environ.get("ONE_LOCATION", "")
        return f"{location}/var/remotes" if location else "/var/lib/one/remotes"

    @cached_property
    def one(self) -> OpenNebula:
        """oned."""
        environ = dict(self.environ)
        if self.config.one_xmlrpc:
            environ["ONE_XMLRPC"] = self.config.one_xmlrpc
        return OpenNebula.from_environment(environ, retries=self.config.one_call_retries, tally=self.tally)

    @cached_property
    def hosts(self) -> Hosts:
        """The hosts, by ssh, and the front-end itself."""
        return Hosts(self.processes, socket.gethostname(), self.tally)

    @cached_property
    def fences(self) -> fences.Fences:
        """The clients to which nothing is to be attached."""
        return fences.Fences(f"{self.home}/{fences.DIRECTORY}")

    @property
    def home(self) -> str:
        """The directory of the user that runs this."""
        return home_of(self.environ)

    @cached_property
    def clients(self) -> Clients:
        """The client ids of hosts."""
        return Clients(self.config, self.hosts, self._host)

    def storpool(self, datastore: Datastore | None = None) -> Api:
        """The API of the cluster that keeps the datastore: its own SP_API_* attributes, else this host's.

        Without a datastore, the cluster of the site's configuration.
        """
        config = self.config.for_datastore(self._decrypted(datastore)) if datastore else self.config
        given = {key: found.text for key in conf.API_KEYS if (found := config.given(key)) and found.text}
        values = {**conf.read_conf(missing_ok=True, environ=self.environ), **given}
        key = (conf.endpoint(values), config.multicluster)
        if key not in self._apis:
            self._apis[key] = self._api(key[0], config)
        return self._apis[key]

    def _api(self, endpoint: Endpoint, config: Config) -> Api:
        options: dict[str, Any] = {
            "deadline_s": config.sp_api_deadline_s,
            "connect_timeout_s": config.sp_api_connect_timeout_s,
            "log": self.log,
            "tally": self.tally,
        }
        if not config.multicluster:
            return Api(endpoint, **options)
        from storpool_addon.storpool.multicluster import MulticlusterApi

        def ours(tags: Mapping[str, str]) -> bool:
            return tags.get(config.loc_tag) == config.loc_tag_val

        return MulticlusterApi(endpoint, others=config.multicluster, ours=ours, **options)

    def _decrypted(self, datastore: Datastore) -> Datastore:
        """With its token in the clear: oned hands `clone`, `mkfs` of a saved disk and `export` ciphertext."""
        if not datastore.is_encrypted(TOKEN):
            return datastore
        found = self.one.datastore(datastore.id)
        if found.is_encrypted(TOKEN):
            raise ConfigError(
                f"datastore {datastore.id}: oned does not decrypt {TOKEN} for this account; put it into group"
                " oneadmin, or take the attribute out and keep the token in /etc/storpool.conf"
            )
        return found

    def volumes(self, datastore: Datastore) -> Volumes:
        """The volumes of a datastore."""
        config = self.config.for_datastore(datastore)
        return Volumes(self.storpool(datastore), config, self.log, self.fences)

    def snapshots(self, datastore: Datastore) -> Snapshots:
        """The snapshots of a datastore's volumes."""
        from storpool_addon.snapshots import Snapshots

        return Snapshots(self.volumes(datastore))

    def client_id(self, host: str, vm: Vm | None = None, datastore: Datastore | None = None) -> ClientId:
        """The StorPool client id of a host.

        vm: its history holds OpenNebula's ids of its hosts, which saves asking for the whole host pool.
        datastore: whose cluster is meant; its BRIDGE_LIST may be asked about the host.
        """
        if vm is not None:
            self._host_ids.update((record.hostname, record.hid) for record in vm.history)
        if datastore is None:
            return self.clients.client_id(host)
        config = self.config.for_datastore(datastore)
        home = Home(config.sp_cluster_id, config.multicluster)
        return self.clients.client_id(host, datastore.bridge_list, home)

    @contextmanager
    def exclusive(self, name: str, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Be the only process of this front-end that works on the object of that name, while the block runs.

        StateError after timeout_s, which says who works on it. Another front-end's processes are not kept
        out: what an action does has to be right without the lock, and is only spared a failure by it.
        """
        who = f"process {os.getpid()} ({self.log.tag})"
        with locks.exclusive(f"{self.home}/{locks.DIRECTORY}", name, timeout_s=timeout_s, who=who):
            yield

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
