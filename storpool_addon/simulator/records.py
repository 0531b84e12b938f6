"""What the simulated cluster knows: immutable records, each with the key of its table."""

from __future__ import annotations

from typing import Any, NamedTuple, Union

Limit = Union[int, str]


class Policy(NamedTuple):
    """How data is placed and limited. iops, bw: "-" is unlimited."""

    replication: Limit = 3
    place_all: str = "default"
    place_tail: str = "default"
    place_head: str = "default"
    iops: Limit = "-"
    bw: Limit = "-"
    limit_type: str = "total"
    reuse_server: bool = False


class Volume(NamedTuple):
    """A volume, or a snapshot when `snapshot` is set.

    gid: globalId without "~". name: "" for an unnamed one. size: bytes. parent: gid of a snapshot or "".
    template: a template's id or 0. data: the id of a data file, "" while nothing was ever written.
    delete_date: targetDeleteDate, 0 for none. gone_at: set while it is being deleted.
    made_from, backup_of: gids of the volume it was made from and of the snapshot it is a backup of.
    """

    gid: str
    id: int
    name: str
    size: int
    policy: Policy
    created: int
    parent: str = ""
    template: int = 0
    tags: dict[str, str] = {}  # noqa: RUF012  records are never changed in place
    data: str = ""
    snapshot: bool = False
    auto_name: bool = False
    bound: bool = False
    transient: bool = False
    delete_date: int = 0
    gone_at: float = 0
    made_from: str = ""
    made_from_id: int = 0
    backup_of: str = ""

    @property
    def key(self) -> str:
        return self.gid

    @property
    def title(self) -> str:
        """What StorPool calls it: its name, or ~globalId."""
        return self.name or f"~{self.gid}"


class Attachment(NamedTuple):
    """A volume or snapshot on a client. rights: "rw" or "ro". pos: number of the device there."""

    client: int
    gid: str
    rights: str
    pos: int

    @property
    def key(self) -> str:
        return f"{self.client}/{self.gid}"


class Client(NamedTuple):
    """An initiator. status: running, down or updating. generation: what it last applied."""

    id: int
    name: str
    status: str = "running"
    generation: int = 0
    started: int = 0

    @property
    def key(self) -> int:
        return self.id


class Template(NamedTuple):
    """Settings for volumes. parent: gid of a snapshot or "". size: bytes, 0 for none."""

    id: int
    name: str
    policy: Policy
    parent: str = ""
    size: int = 0

    @property
    def key(self) -> int:
        return self.id


class Group(NamedTuple):
    """A placement group."""

    id: int
    name: str
    disks: list[int]

    @property
    def key(self) -> str:
        return self.name


class Bucket(NamedTuple):
    """A bucket of the key-value store."""

    name: str
    version: int
    pairs: dict[str, str]

    @property
    def key(self) -> str:
        return self.name


class Maintenance(NamedTuple):
    """A node in maintenance. started: unix seconds. duration: seconds."""

    node: int
    started: int
    duration: int
    description: str

    @property
    def key(self) -> int:
        return self.node


class Location(NamedTuple):
    """A remote location that is registered here."""

    id: str
    name: str

    @property
    def key(self) -> str:
        return self.name


class Export(NamedTuple):
    """A snapshot of ours that a remote location may read."""

    gid: str
    location: str

    @property
    def key(self) -> str:
        return f"{self.location}/{self.gid}"


class Counters(NamedTuple):
    """The numbers of the cluster itself. clock_offset: seconds by which the clock was moved."""

    next_id: int = 1001
    clock_offset: float = 0.0

    @property
    def key(self) -> str:
        return "counters"


Record = Union[
    Volume, Attachment, Client, Template, Group, Bucket, Maintenance, Location, Export, Counters
]  # fmt: skip
Key = Union[str, int]
TYPES: dict[str, Any] = {
    each.__name__: each
    for each in (Volume, Attachment, Client, Template, Group, Bucket, Maintenance, Location, Export, Counters)
}


def revive(kind: str, fields: list[Any], policies: dict[Any, Policy]) -> Record:
    """A record from its journal form; equal policies become one object, there may be many of them."""
    record: Record = TYPES[kind](*fields)
    if isinstance(record, (Volume, Template)):
        fields = list(record.policy)
        return record._replace(policy=policies.setdefault(tuple(fields), Policy(*fields)))
    return record
