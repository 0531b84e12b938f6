"""The device links of each client: what storpool_block shows as /dev/storpool and /dev/storpool-byid."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from typing import Protocol

from storpool_addon.simulator.cluster import Change, Cluster
from storpool_addon.simulator.openness import is_open
from storpool_addon.simulator.records import Attachment, Client, Volume


class Backend(Protocol):
    """Makes something that can be opened out of a data file."""

    def open(self, attachment: Attachment, path: str) -> str:
        """The node for an attachment; the same again while it exists."""

    def resize(self, attachment: Attachment) -> None:
        """The data file has another length."""

    def close(self, attachment: Attachment) -> None:
        """The attachment is gone."""

    def recover(self, wanted: Mapping[str, str], nodes: Mapping[str, str], directory: str) -> None:
        """Take over what a killed process left, remove the rest that uses files of `directory`.

        wanted: data files, nodes: what links point to, both by key of the attachment.
        """

    def is_open(self, attachment: Attachment, path: str) -> bool:
        """Whether a process has the node open."""


class Files:
    """With plain files a device is the data file itself."""

    def __init__(self, *, detect_open: bool = False) -> None:
        self.detect_open = detect_open

    def open(self, attachment: Attachment, path: str) -> str:
        return path

    def resize(self, attachment: Attachment) -> None:
        pass

    def close(self, attachment: Attachment) -> None:
        pass

    def recover(self, wanted: Mapping[str, str], nodes: Mapping[str, str], directory: str) -> None:
        pass

    def is_open(self, attachment: Attachment, path: str) -> bool:
        return self.detect_open and is_open(path)


class Devices:
    """Keeps the links of all clients as the attachments say.

    directory: where a client's links are, as in /dev/storpool; "{client}" in it is the client's name.
    Links by globalId are in the directory of the same name with "-byid".
    """

    def __init__(self, cluster: Cluster, backend: Backend, directory: str) -> None:
        self.cluster = cluster
        self.backend = backend
        self.directory = directory
        # Detached while their client was down: it still shows them until it is back.
        self.stale: list[Attachment] = []
        cluster.is_open = self.is_open

    def start(self) -> None:
        """Make every link that has to be there, remove every other, and follow the cluster from now on."""
        wanted = {each.key: self._data_path(each) for each in self.cluster.attachments}
        nodes = {each.key: self._node(each) for each in self.cluster.attachments}
        self.backend.recover(wanted, nodes, self.cluster.data.directory)
        for client in self.cluster.clients().values():
            self._synchronise(client)
        self.cluster.watchers.append(self.follow)

    def stop(self) -> None:
        """Remove all links and devices."""
        self.cluster.watchers.remove(self.follow)
        for client in self.cluster.clients().values():
            self._clear(client)
        for each in [*self.cluster.attachments, *self.stale]:
            self.backend.close(each)

    def follow(self, changes: list[Change]) -> None:
        """Bring the links up to a committed change."""
        for old, new in changes:
            if isinstance(old, Attachment) or isinstance(new, Attachment):
                self._follow_attachment(old, new)  # type: ignore[arg-type]
            elif isinstance(old, Volume) and isinstance(new, Volume):
                self._follow_volume(old, new)
            elif isinstance(old, Client) and isinstance(new, Client) and old.status != new.status:
                self._synchronise(new)

    def _follow_attachment(self, old: Attachment | None, new: Attachment | None) -> None:
        if old and self._is_up(old.client):
            self._unlink(old)
            self.backend.close(old)
        elif old:
            self.stale.append(old)
        if new and self._is_up(new.client):
            self._link_soon(new)

    def _follow_volume(self, old: Volume, new: Volume) -> None:
        for each in self.cluster.attached.get(new.gid, {}).values():
            if not self._is_up(each.client):
                continue
            if old.size != new.size:
                self.backend.resize(each)
            if old.name != new.name and self.cluster.switches.rename_link == "follow":
                self._unlink(each)
                self._link(each)

    def _is_up(self, client: int) -> bool:
        return self.cluster.clients()[client].status == "running"

    def _data_path(self, attachment: Attachment) -> str:
        return self.cluster.data.path(self.cluster.table(Volume)[attachment.gid].data)

    # Links

    def _node(self, attachment: Attachment) -> str:
        """What the attachment's link points to, "" when it is not there."""
        by_id = self.places(self.cluster.clients()[attachment.client])[1]
        link = os.path.join(by_id, attachment.gid)
        return os.readlink(link) if os.path.islink(link) else ""

    def places(self, client: Client) -> tuple[str, str]:
        """Where links by name and by globalId are."""
        by_name = self.directory.format(client=client.name, id=client.id).rstrip("/")
        return by_name, f"{by_name}-byid"

    def _link_soon(self, attachment: Attachment) -> None:
        delay_s = self.cluster.switches.link_delay_s
        if not delay_s:
            self._link(attachment)
            return
        timer = threading.Timer(delay_s, self._link_late, (attachment,))
        timer.daemon = True
        timer.start()

    def _link_late(self, attachment: Attachment) -> None:
        with self.cluster.lock:
            if self.cluster.table(Attachment).get(attachment.key) == attachment and not self.cluster.closed:
                self._link(attachment)

    def _link(self, attachment: Attachment) -> None:
        volume = self.cluster.table(Volume)[attachment.gid]
        node = self.backend.open(attachment, self.cluster.data.path(volume.data))
        by_name, by_id = self.places(self.cluster.clients()[attachment.client])
        _symlink(node, os.path.join(by_id, volume.gid))
        if volume.name:
            _symlink(node, os.path.join(by_name, volume.name))

    def _unlink(self, attachment: Attachment) -> None:
        """Remove the links of an attachment: by what they point to, the name may have changed."""
        by_name, by_id = self.places(self.cluster.clients()[attachment.client])
        node = self._node(attachment)
        if not node:
            return
        os.unlink(os.path.join(by_id, attachment.gid))
        for entry in _links(by_name):
            if os.readlink(entry) == node:
                os.unlink(entry)

    def _synchronise(self, client: Client) -> None:
        """A client that came up has exactly its links; one that went down keeps what it had."""
        if client.status != "running":
            return
        self._clear(client)
        for each in [each for each in self.stale if each.client == client.id]:
            self.stale.remove(each)
            self.backend.close(each)
        for each in self.cluster.attachments:
            if each.client == client.id:
                self._link(each)
                self.backend.resize(each)

    def _clear(self, client: Client) -> None:
        for place in self.places(client):
            os.makedirs(place, exist_ok=True)
            for entry in _links(place):
                os.unlink(entry)

    def is_open(self, client: int, gid: str) -> bool:
        """Whether a process has that client's device open."""
        attachment = self.cluster.attached.get(gid, {}).get(client)
        return attachment is not None and self.backend.is_open(attachment, self._data_path(attachment))


def _symlink(target: str, path: str) -> None:
    """Put a link in place in one step; one that is there is replaced."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink(target, path)
        return
    fresh = f"{path}.new"
    os.symlink(target, fresh)
    os.replace(fresh, path)


def _links(place: str) -> list[str]:
    with os.scandir(place) as entries:
        return [each.path for each in entries if each.is_symlink()]
