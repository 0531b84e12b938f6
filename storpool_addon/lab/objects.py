"""What the lab's oned keeps: datastores, images, hosts; each can write its document."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from storpool_addon.lab.chain import Chain
from storpool_addon.lab.documents import (
    Value,
    cdata,
    element,
    elements,
    escaped,
    owned,
    permissions,
    template,
    vector,
)

ALICE = (2, 1, "alice", "users")
BOB = (3, 1, "bob", "users")
ONEADMIN = (0, 0, "oneadmin", "oneadmin")
LOCATION = "/var/lib/one//datastores"
IMAGE_TYPES = {"OS": 0, "CDROM": 1, "DATABLOCK": 2, "BACKUP": 6}
READY, USED, LOCKED, ERROR, DELETE, USED_PERSISTENT = 1, 2, 4, 5, 7, 8


class Increment(NamedTuple):
    """A part of an incremental backup. source: the backup datastore's name for it."""

    id: int
    source: str
    size_mib: int

    def document(self) -> str:
        """`<INCREMENT>`."""
        first = self.id == 0
        values = {"DATE": 1769005000, "ID": self.id, "PARENT_ID": self.id - 1, "SIZE": self.size_mib}
        return vector(
            "INCREMENT", {**values, "SOURCE": self.source, "TYPE": "FULL" if first else "INCREMENT"}
        )


@dataclass
class Datastore:
    """A datastore. encrypted: attributes that oned shows in clear only where it decrypts."""

    id: int
    name: str
    system: bool
    attributes: dict[str, str]
    ds_mad: str = "storpool"
    tm_mad: str = "storpool"
    total_mb: int = 0
    free_mb: int = 0
    used_mb: int = 0
    images: set[int] = field(default_factory=set)
    encrypted: set[str] = field(default_factory=set)
    backup: bool = False

    @property
    def path(self) -> str:
        """With the double slash that oned's documents have."""
        return f"{LOCATION}/{self.id}"

    def document(self, *, decrypt: bool = True) -> str:
        """`<DATASTORE>`."""
        hidden = set() if decrypt else self.encrypted
        shown: dict[str, Value] = {
            name: _cipher(text) if name in hidden else text for name, text in self.attributes.items()
        }
        mads = cdata("DS_MAD", "-" if self.system else self.ds_mad) + cdata("TM_MAD", self.tm_mad)
        return element(
            "DATASTORE",
            owned(self.id, self.name) + permissions() + mads + cdata("BASE_PATH", self.path),
            elements(
                TYPE=3 if self.backup else int(self.system), DISK_TYPE=2, STATE=0, CLUSTERS=element("ID", 0)
            ),
            elements(TOTAL_MB=self.total_mb, FREE_MB=self.free_mb, USED_MB=self.used_mb),
            element("IMAGES", *(element("ID", each) for each in sorted(self.images))),
            template("TEMPLATE", shown),
        )


@dataclass
class Image:
    """An image. type: "OS", "CDROM", "DATABLOCK" or "BACKUP". backed_up: the ids of the disks in a backup."""

    id: int
    name: str
    datastore: Datastore
    type: str = "OS"
    persistent: bool = False
    path: str = ""
    size_mib: int = 0
    format: str = ""
    fs: str = ""
    source: str = ""
    state: int = LOCKED
    cloning_id: int = -1
    attributes: dict[str, str] = field(default_factory=lambda: {"DEV_PREFIX": "vd"})
    vms: set[int] = field(default_factory=set)
    owner: tuple[int, int, str, str] = ALICE
    increments: list[Increment] = field(default_factory=list)
    backed_up: tuple[int, ...] = ()
    chain: Chain = field(default_factory=Chain)
    target_snapshot: int = -1

    def document(self, version: str) -> str:
        """`<IMAGE>` as oned of that version writes it."""
        times = {"REGTIME": 1769000000, **({} if version.startswith("6") else {"MODTIME": 1769000000})}
        return element(
            "IMAGE",
            owned(self.id, self.name, self.owner) + permissions(),
            elements(TYPE=IMAGE_TYPES[self.type], DISK_TYPE=2, PERSISTENT=int(self.persistent), **times),
            cdata("SOURCE", self.source)
            + cdata("PATH", self.path)
            + cdata("FORMAT", self.format)
            + cdata("FS", self.fs),
            elements(SIZE=self.size_mib, STATE=self.state, PREV_STATE=self.state, RUNNING_VMS=len(self.vms)),
            elements(
                CLONING_OPS=0,
                CLONING_ID=self.cloning_id,
                TARGET_SNAPSHOT=self.target_snapshot,
                DATASTORE_ID=self.datastore.id,
            ),
            element("DATASTORE", self.datastore.name),
            element("VMS", *(element("ID", each) for each in sorted(self.vms))),
            elements(CLONES="", APP_CLONES=""),
            template("TEMPLATE", self.attributes),
            self.chain.document(),
            element("BACKUP_INCREMENTS", *(each.document() for each in self.increments)),
            element("BACKUP_DISK_IDS", *(element("ID", each) for each in self.backed_up)),
        )

    @property
    def states_in_use(self) -> int:
        """The state while a VM has it."""
        return USED_PERSISTENT if self.persistent else USED


@dataclass
class NodeRecord:
    """A host as oned knows it. state: 2 monitored, 3 error, 8 offline."""

    id: int
    name: str
    client_id: int | None
    state: int = 2
    attributes: dict[str, str] = field(default_factory=dict)

    def document(self, vms: Sequence[int] = ()) -> str:
        """`<HOST>` with these VMs."""
        own = {} if self.client_id is None else {"SP_OURID": str(self.client_id)}
        known = {
            "ARCH": "x86_64",
            "HOSTNAME": self.name,
            "HYPERVISOR": "kvm",
            "IM_MAD": "kvm",
            "VM_MAD": "kvm",
        }
        share = elements(MEM_USAGE=0, CPU_USAGE=0, TOTAL_MEM=263856128, TOTAL_CPU=6400, RUNNING_VMS=len(vms))
        return element(
            "HOST",
            elements(ID=self.id, NAME=self.name, STATE=self.state, PREV_STATE=self.state),
            cdata("IM_MAD", "kvm")
            + cdata("VM_MAD", "kvm")
            + elements(CLUSTER_ID=0, CLUSTER="default", HOST_SHARE=share),
            element("VMS", *(element("ID", each) for each in vms)),
            template("TEMPLATE", {**known, **own, **self.attributes}),
            element("MONITORING", elements(TIMESTAMP=1769009000, ID=self.id)),
        )


def stat_request(path: str, version: str) -> str:
    """The `<IMAGE>` of a `stat`, which comes before the image exists."""
    return element("IMAGE", escaped("PATH", path) + ("" if version.startswith("6") else element("SIZE")))


def action_data(datastore: Datastore, image: str = "", extra: str = "", *, decrypt: bool = True) -> str:
    """What a datastore script reads."""
    return element("DS_DRIVER_ACTION_DATA", image + datastore.document(decrypt=decrypt) + extra)


def _cipher(text: str) -> str:
    """As long as oned's AES in base64 would be, and of its letters."""
    blocks = len(text) // 16 + 1
    return base64.b64encode(hashlib.shake_256(text.encode()).digest(16 * blocks)).decode()
