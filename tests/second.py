"""A second StorPool cluster beside a lab's own, with a datastore on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storpool_addon.lab.gate import Gate
from storpool_addon.lab.lab import CLIENT_IDS, Lab
from storpool_addon.lab.objects import Image
from storpool_addon.simulator import Simulator

DATASTORE = 102


class Second:
    """The cluster d.m. clients: its client ids by host, by default node2's alone, as in the first cluster."""

    def __init__(self, lab: Lab, directory: Path, clients: Mapping[str, int] | None = None) -> None:
        self.lab = lab
        self.clients = dict(clients or {"node2": CLIENT_IDS["node2"]})
        self.datastore = lab.oned.add_image_datastore(DATASTORE, BRIDGE_LIST="node2")
        self.simulator = Simulator(
            directory / "second",
            dev_dir=f"{lab.devices}/{{client}}/storpool",
            clients={number: name for name, number in self.clients.items()},
            templates=[f"one-ds-{self.datastore.id}", "one-ds-100"],
            cluster_id="d.m",
            token="2718281828459045235",
            gate=Gate(lab.conductor),
        )

    def __enter__(self) -> Second:
        self.simulator.start()
        self.datastore.attributes.update(self.address)
        return self

    def __exit__(self, *_: object) -> None:
        self.simulator.stop()

    @property
    def address(self) -> dict[str, str]:
        """The attributes of a datastore that is on this cluster."""
        host, port, token = self.simulator.endpoint
        return {"SP_API_HTTP_HOST": host, "SP_API_HTTP_PORT": str(port), "SP_AUTH_TOKEN": token}

    def ask(self, query: str, body: dict[str, object] | None = None) -> Any:
        """One API call, past the network."""
        route = self.simulator.route("GET" if body is None else "POST", query.split("/"))
        return self.simulator.perform(route, body)[0]

    def names(self) -> set[str]:
        """The names of all volumes."""
        return {each["name"] for each in self.ask("VolumesList")}

    def attached(self) -> dict[str, dict[str, str]]:
        """Volume to host to mode, of all volumes that are attached."""
        hosts = {number: name for name, number in self.clients.items()}
        found: dict[str, dict[str, str]] = {}
        for each in self.ask("AttachmentsList"):
            found.setdefault(each["volume"], {})[hosts[each["client"]]] = each["rights"]
        return found

    def give_image(self, *, size_mib: int = 4, persistent: bool = False) -> Image:
        """An image of this cluster's datastore, as if it had been imported; its data are zeros."""
        image = self.lab.images.allocate(self.datastore, "OS", persistent, size_mib)
        tags = {"virt": "one", "nloc": "one", "qc": ""}
        name = f"one-img-{image.id}"
        body = {"name": name, "size": size_mib << 20, "template": f"one-ds-{self.datastore.id}", "tags": tags}
        self.ask("VolumeCreate", body)
        image.source, image.format, image.state = f"one-ds-{self.datastore.id}/{name}", "raw", 1
        return image

    def read(self, name: str) -> bytes:
        """The bytes of a volume."""
        client = self.clients["node2"]
        self.ask("VolumesReassignWait", {"reassign": [{"volume": name, "ro": [client]}], "attachTimeout": 10})
        with open(self.lab.hosts.nodes["node2"].device(name), "rb") as device:
            content = device.read()
        self.ask("VolumesReassignWait", {"reassign": [{"volume": name, "detach": [client]}]})
        return content
