"""A lab that one world after the other stands on, with a second StorPool cluster for those that need one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence, Set
from typing import Any

from storpool_addon.lab.gate import Gate
from storpool_addon.lab.lab import CLIENT_IDS, Lab
from storpool_addon.lab.objects import Image
from storpool_addon.lab.oned import Oned
from storpool_addon.simulator import Simulator
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.population import populate
from storpool_addon.simulator.records import Attachment, Export, Location, Volume
from storpool_addon.simulator.switches import Switches

NODES = ("node1", "node2", "node3")
SECOND_DATASTORE = 102
# What the lab itself put into a host's /var/lib/one.
_KEPT = ("remotes", ".one", ".ssh")


class Ground(Lab):
    """Three nodes. second: the other cluster; its clients are node1 and node2, its only datastore is 102."""

    def __init__(self, directory: str, tree: str) -> None:
        super().__init__(directory, tree, nodes=NODES, detect_open=True)
        self.second: Simulator | None = None
        self._crowd: Set[str] = frozenset()

    def close(self) -> None:
        """End everything that the world started."""
        if self.second:
            self.second.stop()
        super().close()

    @property
    def simulators(self) -> list[Simulator]:
        """All that there are."""
        return [each for each in (self.simulator, self.second) if each]

    @property
    def clusters(self) -> list[Cluster]:
        """Theirs."""
        return [each.cluster for each in self.simulators]

    def add_second(self) -> None:
        """Let oned have a datastore on the other cluster."""
        if self.second is None:
            self.second = Simulator(
                os.path.join(self.directory, "second"),
                dev_dir=f"{self.devices}/{{client}}/storpool",
                clients={CLIENT_IDS[name]: name for name in NODES[:2]},
                templates=[f"one-ds-{SECOND_DATASTORE}"],
                cluster_id="d.m",
                gate=Gate(self.conductor),
                detect_open=True,
            ).start()
        host, port, token = self.second.endpoint
        wanted = {"SP_API_HTTP_HOST": host, "SP_API_HTTP_PORT": str(port), "SP_AUTH_TOKEN": token}
        self.oned.add_image_datastore(SECOND_DATASTORE, BRIDGE_LIST="node2", **wanted)

    def give_second_image(self, *, size_mib: int = 4) -> Image:
        """A persistent image on the other cluster."""
        self.add_second()
        image = self.give_image(size_mib=size_mib, persistent=True)
        name, datastore = f"one-img-{image.id}", self.oned.datastores[SECOND_DATASTORE]
        (shown,) = self.storpool(f"Volume/{name}")
        self.storpool(f"VolumeDelete/{name}", {})
        image.datastore, image.source = datastore, f"one-ds-{SECOND_DATASTORE}/{name}"
        template = f"one-ds-{SECOND_DATASTORE}"
        body = {"name": name, "size": shown["size"], "template": template, "tags": shown["tags"]}
        self.storpool("VolumeCreate", body, SECOND_DATASTORE)
        return image

    def storpool(
        self, query: str, body: Mapping[str, object] | None = None, datastore: int | None = None
    ) -> Any:
        """Like the lab's. datastore: whose cluster is asked; else the one that has the object."""
        simulator = self.simulator
        items: Any = (body or {}).get("reassign") or [{"volume": query.partition("/")[2]}]
        name = items[0].get("volume") or items[0].get("snapshot")
        if self.second and (datastore == SECOND_DATASTORE or name in self.second.cluster.names):
            simulator = self.second
        route = simulator.route("GET" if body is None else "POST", query.split("/"))
        return simulator.perform(route, None if body is None else dict(body))[0]

    def add_location(self, name: str) -> None:
        """Make the other cluster a location that backups may go to."""
        self.add_second()
        assert self.second
        self.simulator.connect(self.second, location=name, known_as="main")

    def crowd(self, size: int) -> None:
        """Have that many more volumes from now on, in every world: those of nobody."""
        self._crowd = frozenset()
        self.clear()
        populate(self.simulator.cluster, size, 0)
        self._crowd = frozenset(map(str, self.simulator.cluster.table(Volume)))

    @property
    def crowded(self) -> int:
        """How many those are."""
        return len(self._crowd)

    def clear(self) -> None:
        """Empty the world: quicker than to make another."""
        self.hosts.restart()
        for each in self.simulators:
            _empty_cluster(each.cluster, self._crowd)
            each.requests.clear()
            each.switches = Switches()
        _forget(self.oned)
        for host in (self.hosts.frontend, *self.hosts.nodes.values()):
            _empty(host.path("/var/lib/one"), _KEPT)
            _empty(host.path("/var/tmp"), ())


def _empty_cluster(cluster: Cluster, but_for: Set[str]) -> None:
    with cluster.lock:
        with cluster.change():
            for kind in (Attachment, Export, Location, Volume):
                for key, record in list(cluster.table(kind).items()):
                    if key not in but_for:
                        cluster.drop(record)
        cluster.linked.clear()
        cluster.opened.clear()


def _forget(oned: Oned) -> None:
    fresh = Oned(oned.frontend, "")
    for pool in (oned.images, oned.vms, oned.datastores):
        pool.clear()
    oned.next_image, oned.next_vm = fresh.next_image, fresh.next_vm
    oned.add_system_datastore()
    oned.add_image_datastore()


def _empty(directory: str, kept: Sequence[str]) -> None:
    for name in set(os.listdir(directory)) - set(kept):
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
