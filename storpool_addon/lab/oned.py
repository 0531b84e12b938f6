"""The lab's oned: its pools, and how it addresses a transfer manager's scripts."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Mapping

from storpool_addon.lab import machine
from storpool_addon.lab.command import Command
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Datastore, Image, NodeRecord

IMAGE_DEFAULTS = {
    "ALLOW_ORPHANS": "YES", "CLONE_TARGET": "SELF", "DISK_TYPE": "BLOCK", "DRIVER": "raw",
    "LN_TARGET": "NONE", "PERSISTENT_SNAPSHOTS": "YES",
    "RESTRICTED_DIRS": "/", "SAFE_DIRS": "/var/tmp", "TYPE": "IMAGE_DS",
    "DS_MAD": "storpool", "TM_MAD": "storpool", "TM_MAD_SYSTEM": "ssh,shared",
    "CLONE_TARGET_SSH": "SELF", "LN_TARGET_SSH": "NONE", "DISK_TYPE_SSH": "BLOCK",
    "CLONE_TARGET_SHARED": "SELF", "LN_TARGET_SHARED": "NONE", "DISK_TYPE_SHARED": "BLOCK",
}  # fmt: skip
SYSTEM_DEFAULTS = {
    "ALLOW_ORPHANS": "YES", "DISK_TYPE": "BLOCK", "DS_MIGRATE": "YES", "PERSISTENT_SNAPSHOTS": "YES",
    "RESTRICTED_DIRS": "/", "SAFE_DIRS": "/var/tmp", "SHARED": "YES", "TYPE": "SYSTEM_DS",
    "TM_MAD": "storpool",
}  # fmt: skip


class Oned:
    """All that oned knows. version: whose documents and habits it has, "6.10" or "7.4"."""

    def __init__(self, frontend: str, remotes: str, *, version: str = "7.4") -> None:
        self.frontend = frontend
        self.version = version
        self.session = "oneadmin:opennebula"
        # Whether the account of the session is in group oneadmin.
        self.may_decrypt = True
        # What it is in its zone: 0 alone, 1 candidate, 2 follower, 3 leader.
        self.raft_state = 0
        self.datastores: dict[int, Datastore] = {}
        self.images: dict[int, Image] = {}
        self.vms: dict[int, Vm] = {}
        self.hosts: dict[int, NodeRecord] = {}
        self.next_image = itertools.count(7)
        self.next_vm = itertools.count(42)
        self._remotes = remotes

    def add_image_datastore(
        self, datastore_id: int = 101, name: str = "sp-images", **attributes: str
    ) -> Datastore:
        """A datastore for images. attributes: more of its template, BRIDGE_LIST among others."""
        return self._add(Datastore(datastore_id, name, False, {**IMAGE_DEFAULTS, **attributes}))

    def add_system_datastore(
        self, datastore_id: int = 100, name: str = "sp-system", *, tm_mad: str = "storpool", **attributes: str
    ) -> Datastore:
        """A datastore for the directories and volatile disks of VMs."""
        own = {**SYSTEM_DEFAULTS, "TM_MAD": tm_mad, **attributes}
        return self._add(Datastore(datastore_id, name, True, own, tm_mad=tm_mad))

    def _add(self, datastore: Datastore) -> Datastore:
        self.datastores[datastore.id] = datastore
        return datastore

    def add_host(self, name: str, client_id: int | None) -> NodeRecord:
        """A host. client_id: its SP_OURID, None for a host whose probe did not tell."""
        host = NodeRecord(len(self.hosts) + 1, name, client_id)
        self.hosts[host.id] = host
        return host

    def host(self, name: str) -> NodeRecord:
        """A host by name."""
        return next(host for host in self.hosts.values() if host.name == name)

    def vms_on(self, name: str) -> list[int]:
        """The VMs that hold something of a host."""
        resting = (machine.ACTIVE, machine.POWEROFF, machine.SUSPENDED)
        vms = (each for each in self.vms.values() if each.history and each.state in resting)
        return [each.id for each in vms if each.here.host == name]

    def transfer(self, verb: str, *args: object, stdin: str = "", plain: bool = False) -> Command:
        """A line of a transfer file ("CLONE.storpool storpool …") as one_tm starts it.

        A script with the suffix is taken where there is one, else the one without. stdin: only the
        migration and backup scripts get something, in base64 unless it is plain.
        """
        tm_mad, *rest = map(str, args)
        action = verb.split(".")[0].lower() + "".join(verb.partition(".")[1:])
        if not os.path.exists(os.path.join(self._remotes, "tm", tm_mad, action)):
            action = action.partition(".")[0]
        # one_tm splits a line at blanks: an argument with one in it would arrive as two.
        words = tuple(word for arg in rest for word in arg.split())
        document = stdin.encode()
        return Command(f"tm/{tm_mad}/{action}", words, document if plain else base64.b64encode(document))

    def update(self, attributes: dict[str, str], values: Mapping[str, str], append: bool) -> None:
        """`one.*.update`: merge, or replace."""
        if not append:
            attributes.clear()
        attributes.update(values)
