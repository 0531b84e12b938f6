"""What the bash addon asks of StorPool: the calls behind its commands, in its order, with its tags.

It is its 2026 release, addon-storpool 25.07, whose `storpool` commands are put into API calls.
"""

from __future__ import annotations

import itertools
from typing import Any

from storpool_addon.lab.lab import CLIENT_IDS, Lab

OWNED = {"virt": "one", "nloc": "one"}
RELEASED = {"nvm": "", "vc-policy": "", "type": "", "diskid": ""}
DELAY_S = 48 * 3600
_epoch = itertools.count(1718000000)


class BashStorPool:
    """Its common functions. Every test for existence reads a whole list."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def _ask(self, query: str, body: dict[str, object] | None = None) -> Any:
        return self._lab.storpool(query, body)

    def exists(self, name: str) -> bool:
        return any(each["name"] == name for each in self._ask("VolumesList"))

    def create(self, name: str, **body: object) -> None:
        """Without tags: those come in a call of their own."""
        assert not self.exists(name), f"{name} exists"
        self._ask("VolumeCreate", {"name": name, **body})

    def update(self, name: str, **body: object) -> None:
        self._ask(f"VolumeUpdate/{name}", body)

    def tag(self, name: str, **tags: str) -> None:
        self.update(name, tags=tags)

    def attach(self, name: str, host: str, kind: str = "volume", mode: str = "rw") -> None:
        """Beside those that have it already."""
        item = {kind: name, mode: [str(CLIENT_IDS[host])]}
        self._ask("VolumesReassignWait", {"reassign": [item], "attachTimeout": 20})

    def detach(self, name: str, host: str = "all") -> None:
        """By force, if the list of attachments has it."""
        there = [each["client"] for each in self._ask("AttachmentsList") if each["volume"] == name]
        clients = "all" if host == "all" else [CLIENT_IDS[host]]
        if there and (clients == "all" or CLIENT_IDS[host] in there):
            item = {"volume": name, "detach": clients, "force": True}
            self._ask("VolumesReassignWait", {"reassign": [item]})

    def group(self, names: list[str], host: str, word: str) -> None:
        """All of a VM's volumes in one call: `rw` or `detach`."""
        more = {"force": True} if word == "detach" else {}
        items = [{"volume": name, word: [str(CLIENT_IDS[host])], **more} for name in names]
        self._ask("VolumesReassignWait", {"reassign": items, "attachTimeout": 20})

    def snapshot(self, volume: str, name: str) -> None:
        """Without tags."""
        self._ask(f"VolumeSnapshot/{volume}", {"name": name})

    def group_snapshot(self, volumes: list[str], infix: str, vm_id: int) -> None:
        items = [{"volume": name, "name": f"{name}-{infix}"} for name in volumes]
        self._ask("VolumesGroupSnapshot", {"volumes": items, "tags": {**OWNED, "nvm": str(vm_id)}})

    def delete_snapshots(self, words: str) -> None:
        """Every snapshot of the cluster whose name contains the words."""
        for each in self._ask("SnapshotsList"):
            if words in each["name"] and not each["name"].startswith("*"):
                self._ask(f"SnapshotDelete/{each['name']}", {})

    def delete(self, name: str, *, delay: bool = True, snapshots: bool = True) -> None:
        """Aside first, as a snapshot without name and tags."""
        if self.exists(name):
            self.detach(name)
            if delay:
                self._ask(f"VolumeSnapshot/{name}", {"deleteAfter": DELAY_S})
            self._ask(f"VolumeDelete/{name}", {})
        if snapshots:
            self.delete_snapshots(f"{name}-snap")

    def revert(self, volume: str, snapshot: str) -> None:
        """The volume of that name is another afterwards."""
        (old,) = self._ask(f"Volume/{volume}")
        away = f"{volume}-{next(_epoch)}-abcdefgh"
        self.update(volume, rename=away)
        self.create(volume, parent=snapshot, template=old["templateName"])
        self.delete(away, snapshots=False)
        (new,) = self._ask(f"Volume/{volume}")
        if new["size"] < old["size"]:
            self.update(volume, size=old["size"])
