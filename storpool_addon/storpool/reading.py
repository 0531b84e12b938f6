"""StorPool's JSON into records: unknown members are ignored, wrong types are StorPoolNonsense."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, TypeVar

from storpool_addon.errors import StorPoolNonsense
from storpool_addon.storpool import records as r

Record = TypeVar("Record")
Value = TypeVar("Value")
Read = Callable[[Any], Any]


def text(value: Any) -> str:
    """A string that must be there."""
    if type(value) is not str:
        raise TypeError("a string")
    return value


def number(value: Any) -> int:
    """A whole number that must be there; StorPool takes them as strings too, so does this."""
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdigit():
        return int(value)
    raise TypeError("a whole number")


def optional_text(value: Any) -> str:
    """A string; "" when it is missing or "-", StorPool's word for none."""
    if value is None or value == "-":
        return ""
    return text(value)


def limit(value: Any) -> int | None:
    """A number; None for "-", StorPool's word for unlimited, and when it is missing."""
    if value == "-" or value is None:
        return None
    return number(value)


def count(value: Any) -> int:
    """A number; 0 when it is missing."""
    return 0 if value is None else number(value)


def flag(value: Any) -> bool:
    """True or false; false when it is missing."""
    if value is None or type(value) is bool:
        return value is True
    raise TypeError("true or false")


def tags(value: Any) -> dict[str, str]:
    """Strings by name; none when they are missing."""
    if value is None:
        return {}
    if type(value) is dict and all(type(each) is str for each in value.values()):
        return value
    raise TypeError("an object of strings")


def date(value: Any) -> int | None:
    """Unix seconds; None for 0 and when it is missing."""
    return limit(value) or None


def whatever_number(value: Any) -> int | None:
    """A number, and None for anything else: erasure coding puts other things where replication was."""
    return value if type(value) is int else None


def reader(make: Callable[..., Record], **fields: Read) -> Callable[[Any], Record]:
    """A function that makes a record of a JSON object: `global_id=text` reads its member `globalId`.

    The fields are given in the record's order; the last of them may be left to their defaults.
    """
    order: tuple[str, ...] = getattr(make, "_fields", ())
    if tuple(fields) != order[: len(fields)]:
        raise TypeError(f"{make.__name__} has its fields in another order")
    members = [(_camel(name), read) for name, read in fields.items()]

    def read_record(value: Any) -> Record:
        try:
            get = value.get
            return make(*[read(get(key)) for key, read in members])
        except (AttributeError, TypeError, ValueError):
            raise StorPoolNonsense(_complaint(value, members, make)) from None

    return read_record


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _complaint(value: Any, members: list[tuple[str, Read]], make: Callable[..., Any]) -> str:
    kind = getattr(make, "__name__", "object").lower()
    if not isinstance(value, dict):
        return f"StorPool's answer has a {type(value).__name__} where a {kind} belongs"
    for key, read in members:
        try:
            read(value.get(key))
        except (TypeError, ValueError) as error:
            title = value.get("name", "")
            return f"StorPool's answer has a {kind} {title!r:.200} whose {key} is not {error}"
    return f"StorPool's answer has a {kind} that cannot be read"


def list_of(
    read: Callable[[Any], Value], value: Any, odd: Callable[[StorPoolNonsense], None] | None = None
) -> list[Value]:
    """Each member of a JSON array. odd: is told of a member that is none, in place of failing for all."""
    if type(value) is not list:
        raise StorPoolNonsense(f"StorPool's answer is a {type(value).__name__} where a list belongs")
    if odd is None:
        return [read(each) for each in value]
    found = []
    for each in value:
        try:
            found.append(read(each))
        except StorPoolNonsense as error:
            odd(error)
    return found


def one_of(read: Callable[[Any], Value], value: Any) -> Value:
    """The only member of a JSON array: StorPool answers a question about one object with a list of one."""
    found = list_of(read, value)
    if len(found) != 1:
        raise StorPoolNonsense(f"StorPool's answer has {len(found)} objects where one belongs")
    return found[0]


def member(value: Any, key: str) -> Any:
    """A member of a JSON object, None when it is missing."""
    if type(value) is not dict:
        raise StorPoolNonsense(f"StorPool's answer is a {type(value).__name__} where an object belongs")
    return value.get(key)


_VOLUME: dict[str, Read] = {
    "name": text,
    "global_id": optional_text,
    "size": number,
    "parent_name": optional_text,
    "template_name": optional_text,
    "tags": tags,
    "creation_timestamp": count,
    "iops": limit,
    "bw": limit,
    "limit_type": optional_text,
    "replication": whatever_number,
    "place_all": optional_text,
    "place_tail": optional_text,
    "place_head": optional_text,
    "cluster_name": optional_text,
}
volume = reader(r.Volume, **_VOLUME)
snapshot = reader(
    r.Snapshot,
    **_VOLUME,
    on_volume=optional_text,
    auto_name=flag,
    deleted=flag,
    transient=flag,
    bound=flag,
    recovering_from_remote=flag,
    target_delete_date=date,
    backup_of_global_id=optional_text,
)
attachment = reader(
    r.Attachment, client=number, volume=text, global_id=optional_text, snapshot=flag, rights=text, pos=count
)
template = reader(
    r.Template,
    name=text,
    parent_name=optional_text,
    size=limit,
    replication=whatever_number,
    place_all=optional_text,
    place_tail=optional_text,
    place_head=optional_text,
    iops=limit,
    bw=limit,
    limit_type=optional_text,
    reuse_server=flag,
)
space = reader(
    r.Space,
    name=text,
    global_id=optional_text,
    size=number,
    stored_size=number,
    space_used=number,
    template_name=optional_text,
    tags=tags,
)
volume_status = reader(
    r.VolumeStatus,
    name=text,
    status=text,
    snapshot=flag,
    size=count,
    stored_size=limit,
    on_disk_size=limit,
    migrating=flag,
    decreased_redundancy=flag,
    syncing_data_bytes=count,
    down_bytes=count,
    template_name=optional_text,
    tags=tags,
)
service = reader(r.Service, id=number, status=text, version=optional_text, node_id=limit, active=flag)
client_config = reader(
    r.ClientConfig,
    id=number,
    generation=count,
    client_generation=count,
    config_status=optional_text,
    delay=count,
)
remote_snapshot = reader(
    r.RemoteSnapshot,
    name=optional_text,
    location=text,
    remote_id=text,
    size=count,
    creation_timestamp=count,
    on_volume=optional_text,
    local_snapshot=optional_text,
    tags=tags,
)
export = reader(r.Export, snapshot=optional_text, location=text, global_id=optional_text, backing_up=flag)
group_snapshot = reader(r.GroupSnapshot, volume=text, snapshot=text, snapshot_global_id=optional_text)
created = reader(r.Created, name=optional_text, global_id=optional_text, auto_name=optional_text)


class _Stored(NamedTuple):
    capacity: int | None
    free: int | None


class _Internal(NamedTuple):
    u1: int | None
    u2: int | None
    u3: int | None


_stored = reader(_Stored, capacity=limit, free=limit)
_internal = reader(_Internal, u1=limit, u2=limit, u3=limit)
_counts = (
    "volumesCount",
    "snapshotsCount",
    "removingSnapshotsCount",
    "size",
    "storedSize",
    "onDiskSize",
)


def template_status(value: Any) -> r.TemplateStatus:
    """An element of VolumeTemplatesStatus, whose `stored` and `stored.internal` are objects of their own."""
    stored = member(value, "stored") or {}
    try:
        counts = [count(value.get(key)) for key in _counts]
        name = text(value.get("name"))
        internal = _internal(member(stored, "internal") or {})
        return r.TemplateStatus(name, *_stored(stored), *internal, *counts)
    except TypeError as error:
        raise StorPoolNonsense(
            f"StorPool's status of template {value.get('name')!r:.200} lacks {error}"
        ) from None


def needed(value: Any, key: str) -> str:
    """A string that an object must have."""
    there = member(value, key)
    if type(there) is not str or not there:
        raise StorPoolNonsense(f"StorPool's answer has no {key}")
    return there


def backups(value: Any) -> list[r.BackedUp]:
    """The `backups` of VolumesGroupBackup, whose keys are volumes."""
    if type(value) is not dict:
        raise StorPoolNonsense(f"StorPool's answer is a {type(value).__name__} where an object belongs")
    return [
        r.BackedUp(volume, needed(each, "remoteId"), member(each, "snapshotGlobalId") or "")
        for volume, each in value.items()
    ]


def services(value: Any) -> r.Services:
    """The document of ServicesList, whose keys are ids."""
    by_id = [_services_of(value, key) for key in ("mgmt", "clients", "servers", "bridges")]
    status = member(value, "clusterStatus")
    return r.Services(status if type(status) is str else "", *by_id)


def _services_of(value: Any, key: str) -> dict[int, r.Service]:
    found = member(value, key) or {}
    if type(found) is not dict:
        raise StorPoolNonsense(f"StorPool's list of services has a {type(found).__name__} for {key}")
    by_id: dict[int, r.Service] = {}
    for name, each in found.items():
        read = service(_named("id", name, each))
        by_id[read.id] = read
    return by_id


def statuses(value: Any) -> dict[str, r.VolumeStatus]:
    """The document of VolumesGetStatus, whose keys are names."""
    if type(value) is not dict:
        raise StorPoolNonsense(f"StorPool's answer is a {type(value).__name__} where an object belongs")
    return {name: volume_status(_named("name", name, each)) for name, each in value.items()}


def _named(key: str, name: str, value: Any) -> Any:
    """The object with its key in the document as a member, unless it has that itself."""
    return {key: name, **value} if type(value) is dict else value
