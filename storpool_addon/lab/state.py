"""A picture of the world that two runs can be compared by: the same when they ended in the same state.

Global ids, times and the names that StorPool makes up differ from run to run and are left out of it.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from storpool_addon.lab.lab import Lab

# A global id inside a name, and the number that StorPool gives a snapshot made by baseOn.
_MADE_UP = re.compile(r"\bd\.n\.[0-9a-z]+|(?<=@)\d+")
_CHUNK = 1 << 20
EMPTY = "empty"
# What oned and people keep there is not the driver's doing; a lock that a killed process left means nothing.
_NOT_OURS = ("remotes", ".one", ".ssh", ".storpool-addon")


class State(NamedTuple):
    """volumes, snapshots, attachments, files: sorted lines of text, each saying all about one object."""

    volumes: list[str]
    snapshots: list[str]
    attachments: list[str]
    files: list[str]

    def differences(self, wanted: State) -> list[str]:
        """What is more (+) and what is less (-) than in the wanted state."""
        found = []
        for name, ours, theirs in zip(self._fields, self, wanted):
            found += [f"+ {name[:-1]} {line}" for line in _without(ours, theirs)]
            found += [f"- {name[:-1]} {line}" for line in _without(theirs, ours)]
        return found


def picture(lab: Lab) -> State:
    """The world as it is now."""
    clients = {client.id: client.name for client in lab.simulator.cluster.clients().values()}
    volumes = [_volume(lab, each) for each in lab.storpool("VolumesList") if _stays(each)]
    snapshots = [_volume(lab, each) for each in lab.storpool("SnapshotsList") if _stays(each)]
    attachments = [
        f"{_plain(each['volume'])} on {clients[each['client']]} {each['rights']}"
        for each in lab.storpool("AttachmentsList")
    ]
    hosts = [lab.hosts.frontend, *lab.hosts.nodes.values()]
    files = [f"{host.name}:{line}" for host in hosts for line in tree(host.path("/var/lib/one"))]
    files += [f"{host.name}:/var/tmp{line}" for host in hosts for line in tree(host.path("/var/tmp"))]
    return State(sorted(volumes), sorted(snapshots), sorted(attachments), sorted(files))


def tree(directory: str) -> list[str]:
    """The links, files and directories below one, a line each."""
    found = []
    for place, directories, files in os.walk(directory):
        if place == directory:
            directories[:] = [name for name in directories if name not in _NOT_OURS]
        for name in [*directories, *files]:
            path = os.path.join(place, name)
            found.append(f"{path[len(directory) :]} {_what(path)}")
    return found


def digest(path: str) -> str:
    """The sha256 of a file up to its last byte that is not zero: a hole, a zero and nothing are the same."""
    content, zeros, kept_any = hashlib.sha256(), 0, False
    with open(path, "rb") as file:
        while block := file.read(_CHUNK):
            kept = block.rstrip(b"\0")
            if kept:
                content.update(b"\0" * zeros + kept)
                zeros, kept_any = 0, True
            zeros += len(block) - len(kept)
    return content.hexdigest()[:16] if kept_any else EMPTY


def _volume(lab: Lab, fields: dict[str, Any]) -> str:
    tags = ",".join(f"{key}={_plain(value)}" for key, value in sorted(fields.get("tags", {}).items()))
    record = lab.simulator.cluster.find(f"~{fields['globalId']}")
    content = digest(lab.simulator.cluster.data.path(record.data)) if record and record.data else EMPTY
    dated = " goes by itself" if fields.get("targetDeleteDate") else ""
    parent, template = _plain(fields["parentName"]), fields["templateName"]
    return f"{_plain(fields['name'])} {fields['size']} {template} <{parent}> {tags} {content}{dated}"


def _stays(fields: dict[str, Any]) -> bool:
    """Not so what is being deleted (its name begins with a star), or what baseOn made."""
    return not fields["name"].startswith("*") and "@" not in fields["name"]


def _plain(text: str) -> str:
    return _MADE_UP.sub("*", text)


def _what(path: str) -> str:
    if os.path.islink(path):
        return f"-> {os.readlink(path)}"
    return "directory" if os.path.isdir(path) else digest(path)


def _without(lines: list[str], others: list[str]) -> list[str]:
    rest = list(others)
    found = []
    for line in lines:
        if line in rest:
            rest.remove(line)
        else:
            found.append(line)
    return found
