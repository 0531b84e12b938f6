"""What the tests of the transfer manager share: a look at the world, and how a script has to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storpool_addon.lab.command import Command, Result
from storpool_addon.lab.hosts import Host
from storpool_addon.lab.lab import CLIENT_IDS, Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.simulator.records import Volume

MIB = 1 << 20
HOME = "/var/lib/one/datastores/100/42"
HOST_OF = {number: name for name, number in CLIENT_IDS.items()}
# Calls that ask for everything that a cluster or oned has.
LISTS = ("VolumesList", "SnapshotsList", "AttachmentsList", "pool.info")


def volume(lab: Lab, name: str) -> dict[str, Any]:
    """A volume as StorPool shows it."""
    (found,) = lab.storpool(f"Volume/{name}")
    return dict(found)


def parent(shown: Mapping[str, Any]) -> str:
    """What a volume is a clone of: the snapshot between the two is StorPool's own."""
    name = str(shown["parentName"]).partition("@")[0]
    return "" if name == shown["name"] else name


def tags(lab: Lab, name: str) -> dict[str, str]:
    """The tags of a volume that say something."""
    return {key: value for key, value in volume(lab, name)["tags"].items() if value}


def volumes(lab: Lab) -> set[str]:
    """The names of all volumes."""
    return {each["name"] for each in lab.storpool("VolumesList")}


def snapshots(lab: Lab) -> dict[str, dict[str, Any]]:
    """All snapshots that somebody named, by name."""
    cluster = lab.simulator.cluster
    known = {each.title: each for each in cluster.table(Volume).values() if each.snapshot}
    listed = {each["name"]: each for each in lab.storpool("SnapshotsList")}
    return {
        name: each
        for name, each in listed.items()
        if name in known and not (known[name].auto_name or known[name].transient or known[name].gone_at)
    }


def attached(lab: Lab, *names: str) -> dict[str, dict[str, str]]:
    """Volume to host to mode; of these volumes, or of all."""
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for each in lab.storpool("AttachmentsList"):
        if not names or each["volume"] in names:
            found.setdefault(each["volume"], {})[HOST_OF[each["client"]]] = each["rights"]
    return found


def links(lab: Lab, host: str, directory: str = HOME) -> dict[str, str]:
    """The links in a VM's directory on a host: name to volume."""
    place = Path(at(lab, host).path(directory))
    found = {each.name: str(each.readlink()) for each in place.glob("*") if each.is_symlink()}
    return {name: target.replace("/dev/storpool/", "") for name, target in found.items()}


def files(lab: Lab, host: str, directory: str = HOME) -> dict[str, bytes]:
    """The plain files of a VM's directory on a host: path to content."""
    place = Path(at(lab, host).path(directory))
    found = (each for each in place.rglob("*") if each.is_file() and not each.is_symlink())
    return {str(each.relative_to(place)): each.read_bytes() for each in found}


def at(lab: Lab, host: str) -> Host:
    """A host, or the front-end."""
    return lab.hosts.frontend if host == "frontend" else lab.hosts.nodes[host]


def picture(lab: Lab) -> dict[str, object]:
    """All that a script may change, without what differs from run to run."""
    clients = attached(lab)
    seen: dict[str, object] = {
        each["name"]: (
            each["size"],
            each["tags"],
            parent(each),
            each["templateName"],
            clients.get(each["name"]),
        )
        for each in lab.storpool("VolumesList")
    }
    seen["snapshots"] = {
        name: {key: each[key] for key in ("size", "tags", "targetDeleteDate")}
        for name, each in snapshots(lab).items()
    }
    for host in ("frontend", *lab.hosts.nodes):
        place = Path(at(lab, host).path(HOME)).parent
        homes = sorted(each.name for each in place.iterdir()) if place.exists() else []
        seen[host] = (links(lab, host), files(lab, host), homes)
    return seen


def succeeds(lab: Lab, command: Command, *, times: int = 1) -> Result:
    """Run a command that must succeed in silence; once more, and again, it must change nothing."""
    first = _silent(lab, command)
    for _ in range(times - 1):
        before = picture(lab)
        _silent(lab, command)
        changed = differences(before, picture(lab))
        assert not changed, changed
    return first


def _silent(lab: Lab, command: Command) -> Result:
    result = lab.run(command)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", ""), result
    return result


def fails(lab: Lab, command: Command, *, code: int = 1) -> str:
    """Run a command that must fail as expected; the line that the user reads."""
    result = lab.run(command)
    assert (result.exit_code, result.stdout) == (code, ""), result
    assert result.stderr.count("\n") == 1 and result.stderr.endswith("\n"), result.stderr
    assert lab.simulator.token not in result.stderr
    return result.stderr[:-1]


def refused(lab: Lab, command: Command, *, code: int = 1) -> str:
    """Like `fails`; and nothing has changed."""
    before = picture(lab)
    line = fails(lab, command, code=code)
    changed = differences(before, picture(lab))
    assert not changed, changed
    return line


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """What is not the same in two pictures."""
    names = sorted({*before, *after})
    return [
        f"{name}: {before.get(name)}, then {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ]


@contextmanager
def logged(lab: Lab) -> Iterator[list[str]]:
    """What scripts that run meanwhile write to their log; there at the end. LOG_TO_FILE has to be on."""
    lines: list[str] = []
    yield lines
    lines += lab.hosts.frontend.run("cat /var/log/one/addon-storpool.log").stdout.splitlines()


def kinds(result: Result) -> dict[str, int]:
    """How many calls of each kind a script made."""
    counted: dict[str, int] = {}
    for call in result.calls:
        counted[call.kind] = counted.get(call.kind, 0) + 1
    return counted


def asks_for_lists(result: Result) -> list[str]:
    """The calls of a script that ask for everything."""
    return [call.what for call in result.calls if any(word in call.what for word in LISTS)]


def mv(vm: Vm, source: str, target: str, disk_id: int | None = 0, datastore: int = 101) -> Command:
    """`mv` of a disk, or of the directory, as oned writes it."""
    word = "" if disk_id is None else f"/disk.{disk_id}"
    paths = [f"{host}:{vm.home}{word}" for host in (source, target)]
    return Command("tm/storpool/mv", (*paths, str(vm.id), str(100 if disk_id is None else datastore)))


def foreign(lab: Lab, name: str, tags: Mapping[str, str], snapshot: str = "") -> None:
    """A small volume with these tags; with a snapshot, if named."""
    lab.storpool("VolumeCreate", {"name": name, "size": MIB, "template": "one-ds-101", "tags": dict(tags)})
    if snapshot:
        lab.storpool(f"VolumeSnapshot/{name}", {"name": snapshot, "tags": dict(tags)})


def attach(lab: Lab, name: str, *hosts: str) -> None:
    """Attach a volume to exactly these hosts."""
    item = {"volume": name, "detach": "all", "rw": [CLIENT_IDS[host] for host in hosts], "force": True}
    lab.storpool("VolumesReassignWait", {"reassign": [item], "attachTimeout": 10})
