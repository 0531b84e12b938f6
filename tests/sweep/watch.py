"""Looks at a cluster after each of its changes: rules that hold at every moment, not only at the end."""

from __future__ import annotations

import re

from storpool_addon.simulator.cluster import Change, Cluster
from storpool_addon.simulator.records import Volume

# How a VM's disk says that it uses a volume that others may use too, and on which clients.
_USER = re.compile(r"nvm-([0-9]+)-[0-9]+")
# The VM that the table's actions are about.
ACTOR = "42"


class Watch:
    """Collects what breaks a rule. migration: two clients may write to one volume."""

    def __init__(self, cluster: Cluster, *, migration: bool) -> None:
        self._cluster = cluster
        self._migration = migration
        self._broken: list[str] = []
        self._gone: list[str] = []
        with cluster.lock:
            self._bystanders = [
                (each.gid, client) for each in cluster.table(Volume).values() for client in _bystanders(each)
            ]
            self._names = {each.name for each in cluster.table(Volume).values() if not each.snapshot}
            cluster.watchers.append(self._look)

    def close(self) -> None:
        """Look no more."""
        with self._cluster.lock:
            self._cluster.watchers.remove(self._look)

    def broken_rules(self) -> list[str]:
        """What broke, and which volumes that were there and are there were gone for a moment (I11)."""
        kept = {each.name for each in self._cluster.table(Volume).values() if not each.snapshot}
        gone = sorted({name for name in self._gone if name in kept})
        broken = [f"I11: volume {name} was gone for a moment" for name in gone]
        return broken + list(dict.fromkeys(self._broken))

    def _look(self, changes: list[Change]) -> None:
        for _, new in changes:
            if isinstance(new, Volume):
                self._has_owner(new)
        self._gone += [name for name in self._names if name and name not in self._cluster.names]
        self._nobody_lost_it()
        if not self._migration:
            self._one_writer()

    def _has_owner(self, volume: Volume) -> None:
        """I2. Snapshots that StorPool makes and removes by itself have no tags."""
        by_itself = volume.transient or volume.auto_name or volume.gone_at
        if not by_itself and not {"virt", "nloc"} <= set(volume.tags):
            self._broken.append(f"I2: {volume.title} has no owner in its tags: {volume.tags}")

    def _one_writer(self) -> None:
        """I4, but for volumes whose users know of each other."""
        for gid, clients in self._cluster.attached.items():
            writers = [client for client, each in clients.items() if each.rights == "rw"]
            if len(writers) > 1 and not any(map(_USER.fullmatch, self._cluster.table(Volume)[gid].tags)):
                title = self._cluster.table(Volume)[gid].title
                self._broken.append(f"I4: {title} can be written by clients {writers}")

    def _nobody_lost_it(self) -> None:
        """I4: what VMs share stays where those have it that no action is about."""
        for gid, client in self._bystanders:
            if client not in self._cluster.attached.get(gid, {}):
                title = self._cluster.table(Volume)[gid].title
                self._broken.append(f"I4: another VM lost {title} on client {client}")


def _bystanders(volume: Volume) -> list[int]:
    """The clients on which other VMs than the one that is acted upon use a volume."""
    users = [(_USER.fullmatch(key), text) for key, text in volume.tags.items()]
    texts = [text for match, text in users if match and match[1] != ACTOR]
    return [int(client) for text in texts for client in text.split(".") if text]
