"""StorPool's objects: its own words in snake_case; sizes are bytes, times are unix seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

ClientIds = Sequence[int]


class ClientId(int):
    """The id of a client. cluster: the id of its cluster in a multicluster, "" for the API's own.

    fenced: what is to be said when something would be attached to it, "" where nothing is known against that.
    """

    cluster: str
    fenced: str

    def __new__(cls, number: int, cluster: str = "", fenced: str = "") -> ClientId:
        made = super().__new__(cls, number)
        made.cluster = cluster
        made.fenced = fenced
        return made


class Volume(NamedTuple):
    """A volume.

    name: `~globalId` when it has none. global_id: without "~". parent_name, template_name: "" for none.
    iops, bw: None is unlimited. replication: None where it is not a number, as with erasure coding.
    """

    name: str
    global_id: str
    size: int
    parent_name: str
    template_name: str
    tags: dict[str, str]
    creation_timestamp: int = 0
    iops: int | None = None
    bw: int | None = None
    limit_type: str = ""
    replication: int | None = None
    place_all: str = ""
    place_tail: str = ""
    place_head: str = ""
    cluster_name: str = ""


class Snapshot(NamedTuple):
    """A snapshot: a volume's fields and its own.

    on_volume: the volume whose parent it is, "" for none. auto_name: StorPool named it `<volume>@<id>`.
    deleted: on its way out, under a name that begins with "*". transient: made by a clone of a volume; it
    cannot be attached. bound: goes when its last child goes. target_delete_date: None when it stays.
    """

    name: str
    global_id: str
    size: int
    parent_name: str
    template_name: str
    tags: dict[str, str]
    creation_timestamp: int = 0
    iops: int | None = None
    bw: int | None = None
    limit_type: str = ""
    replication: int | None = None
    place_all: str = ""
    place_tail: str = ""
    place_head: str = ""
    cluster_name: str = ""
    on_volume: str = ""
    auto_name: bool = False
    deleted: bool = False
    transient: bool = False
    bound: bool = False
    recovering_from_remote: bool = False
    target_delete_date: int | None = None
    backup_of_global_id: str = ""


class Attachment(NamedTuple):
    """A volume, or a snapshot when `snapshot` is set, on a client. rights: "rw" or "ro". pos: 0 to 1023."""

    client: int
    volume: str
    global_id: str
    snapshot: bool
    rights: str
    pos: int = 0


class Template(NamedTuple):
    """A template. size, iops, bw: None when it sets none."""

    name: str
    parent_name: str = ""
    size: int | None = None
    replication: int | None = None
    place_all: str = ""
    place_tail: str = ""
    place_head: str = ""
    iops: int | None = None
    bw: int | None = None
    limit_type: str = ""
    reuse_server: bool = False


class TemplateStatus(NamedTuple):
    """What a template's disks hold and may still hold, as bytes of clients' data; None is unknown.

    Templates may share disks: their free bytes must not be added up. u1, u2, u3: StorPool's internal figures.
    """

    name: str
    capacity: int | None
    free: int | None
    u1: int | None = None
    u2: int | None = None
    u3: int | None = None
    volumes_count: int = 0
    snapshots_count: int = 0
    removing_snapshots_count: int = 0
    size: int = 0
    stored_size: int = 0
    on_disk_size: int = 0


class Space(NamedTuple):
    """What a volume or snapshot takes.

    stored_size: bytes written to it. space_used: of a volume with all its parents, of a snapshot the bytes
    that its deletion would free.
    """

    name: str
    global_id: str
    size: int
    stored_size: int
    space_used: int
    template_name: str
    tags: dict[str, str]


class VolumeStatus(NamedTuple):
    """How a volume or snapshot is. status: "up", "up soon", "data lost" or "down".

    stored_size, on_disk_size: None in a quick status.
    """

    name: str
    status: str
    snapshot: bool = False
    size: int = 0
    stored_size: int | None = None
    on_disk_size: int | None = None
    migrating: bool = False
    decreased_redundancy: bool = False
    syncing_data_bytes: int = 0
    down_bytes: int = 0
    template_name: str = ""
    tags: dict[str, str] = {}  # noqa: RUF012  never changed in place


class Service(NamedTuple):
    """A process of the cluster. status: "running", "waiting", "booting" or "down".

    active: of several that serve the API, the one that does.
    """

    id: int
    status: str
    version: str = ""
    node_id: int | None = None
    active: bool = False


class Services(NamedTuple):
    """The cluster's processes by id. cluster_status: "running", "waiting" or "down"."""

    cluster_status: str
    mgmt: dict[int, Service]
    clients: dict[int, Service]
    servers: dict[int, Service]
    bridges: dict[int, Service]


class ClientConfig(NamedTuple):
    """How far a client has followed the cluster's configuration. delay: as StorPool gives it."""

    id: int
    generation: int
    client_generation: int
    config_status: str
    delay: int = 0


class RemoteSnapshot(NamedTuple):
    """A snapshot that another location keeps for us or has exported to us. local_snapshot: "" for none."""

    name: str
    location: str
    remote_id: str
    size: int
    creation_timestamp: int
    on_volume: str
    local_snapshot: str
    tags: dict[str, str]


class Export(NamedTuple):
    """A snapshot that a location may take."""

    snapshot: str
    location: str
    global_id: str
    backing_up: bool = False


class Created(NamedTuple):
    """A volume that was made. global_id: "" from a release that does not tell.

    auto_name: the snapshot that StorPool made to clone a volume, "" for none.
    """

    name: str
    global_id: str
    auto_name: str = ""


class SnapshotCreated(NamedTuple):
    """A snapshot that was made."""

    name: str
    global_id: str


class GroupSnapshot(NamedTuple):
    """One volume's part of a group snapshot."""

    volume: str
    snapshot: str
    snapshot_global_id: str


class BackedUp(NamedTuple):
    """One volume's part of a backup. remote_id: global id at the other location."""

    volume: str
    remote_id: str
    snapshot_global_id: str


class Policy(NamedTuple):
    """How data is placed and limited; None leaves it to the template. iops, bw: "-" is unlimited."""

    replication: int | None = None
    place_all: str | None = None
    place_tail: str | None = None
    place_head: str | None = None
    iops: int | str | None = None
    bw: int | str | None = None
    limit_type: str | None = None
    reuse_server: bool | None = None


class Reassign(NamedTuple):
    """Where one volume or snapshot is to be attached, and from where detached.

    rw, ro: ids of clients that get it, beside those that have it. detach: ids, or "all"; clients in rw and
    ro keep it. force: detach even where its device is open, whose user then gets I/O errors.
    on_remote_attached: what is to be done where it is attached in another cluster of a multicluster: "fail",
    "detach", "detachForce" or "export", which is StorPool's default: there it stays attached as well.
    """

    volume: str | None = None
    snapshot: str | None = None
    rw: ClientIds = ()
    ro: ClientIds = ()
    detach: str | ClientIds | None = None
    force: bool = False
    on_remote_attached: str | None = None

    @property
    def name(self) -> str:
        """The name of the volume or snapshot."""
        return self.volume or self.snapshot or ""

    def body(self) -> dict[str, Any]:
        """The item as StorPool takes it."""
        item: dict[str, Any] = {"volume": self.volume} if self.volume else {"snapshot": self.snapshot}
        for key, clients in (("rw", self.rw), ("ro", self.ro), ("detach", self.detach)):
            if clients:
                item[key] = clients if isinstance(clients, str) else list(clients)
        if self.force:
            item["force"] = True
        if self.on_remote_attached:
            item["onRemoteAttached"] = self.on_remote_attached
        return item
