"""What a world looks like, so that two worlds can be compared: no global ids, times or made-up names."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from typing import BinaryIO

from storpool_addon.lab.hosts import Host
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Template, Volume
from tests.sweep.ground import Ground

Picture = dict[str, str]
# The front-end's own: the driver and the lab put it there, no action does; and locks, which a kill leaves.
_NOT_SHOWN = tuple(f"/var/lib/one/{name}" for name in ("remotes", ".one", "vms", ".storpool-addon"))
_ROOTS = ("/var/lib/one", "/var/tmp")
_PART = 64 << 10
_EXT4, _SWAP = (1080, b"\x53\xef"), (4086, b"SWAPSPACE2")


def take(lab: Ground) -> Picture:
    """Volumes, snapshots, attachments and the files of all hosts; each as a line of text by its name."""
    seen: Picture = {}
    for cluster in lab.clusters:
        with cluster.lock:
            there = _objects(cluster) | _attachments(cluster)
        seen.update((f"{name} in {cluster.name}", text) for name, text in there.items())
    for host in (lab.hosts.frontend, *lab.hosts.nodes.values()):
        seen |= _files(host)
    return seen


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is missing, what is too much and what is otherwise, a line each."""
    lines = []
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            lines.append(f"{name}: expected {expected.get(name)}; found {found.get(name)}")
    return lines


def lasting(picture: Picture) -> Picture:
    """Without the snapshots that StorPool deletes by itself, and what hangs on them."""
    going = {name for name, text in picture.items() if " deleted-later" in text}
    words = {name.split()[1] for name in going}
    kept = {name: text for name, text in picture.items() if not words & set(name.split())}
    return {name: " ".join(_unparented(text, words)) for name, text in kept.items()}


def _unparented(text: str, going: set[str]) -> list[str]:
    words = text.split(" ")
    if "of" in words and words[words.index("of") + 1] in going:
        del words[words.index("of") : words.index("of") + 2]
    return words


def without_hosts(picture: Picture) -> Picture:
    """The StorPool part alone."""
    return {name: text for name, text in picture.items() if not name.startswith("file ")}


def _objects(cluster: Cluster) -> Picture:
    seen: Picture = {}
    for each in sorted(filter(_counts, cluster.table(Volume).values()), key=lambda each: each.id):
        title = _title(each)
        # Those that nobody named have one title, without their ids.
        while title in seen:
            title += " again"
        seen[title] = _described(cluster, each)
    return seen


def _counts(volume: Volume) -> bool:
    """StorPool makes snapshots by itself and removes them again; those are nobody's."""
    return not (volume.transient or volume.auto_name or volume.gone_at)


def _title(volume: Volume) -> str:
    kind = "snapshot" if volume.snapshot else "volume"
    return f"{kind} {_without_ids(volume.title, volume)}"


def _without_ids(text: str, volume: Volume) -> str:
    """Without global ids, and without times, which are ten digits these days."""
    for gid in filter(None, (volume.gid, volume.backup_of)):
        text = re.sub(re.escape(gid.rpartition(".")[0]) + r"\.[0-9a-z]+", "ID", text)
    return re.sub(r"(?<![0-9a-z])1[0-9]{9}(?![0-9a-z])", "TIME", text)


def _described(cluster: Cluster, volume: Volume) -> str:
    template = cluster.table(Template).get(volume.template)
    tags = " ".join(f"{key}={_without_ids(text, volume)}" for key, text in sorted(volume.tags.items()))
    goes = " deleted-later" if volume.delete_date else ""
    origin = _origin(cluster, volume)
    of = f" of {origin}" if origin and origin != volume.name else ""
    name = template.name if template else "-"
    return f"{volume.size} bytes, {name},{of} [{tags}]{goes} {_content(cluster, volume)}"


def _origin(cluster: Cluster, volume: Volume) -> str:
    """What the volume is a clone of; a snapshot that StorPool made for a clone stands for its volume.

    One that StorPool is about to take away does not count, but what that is a clone of.
    """
    parent = cluster.table(Volume).get(volume.parent)
    while parent is not None and parent.gone_at:
        parent = cluster.table(Volume).get(parent.parent)
    if parent is None:
        return ""
    return _without_ids(parent.title.partition("@")[0], volume)


def _content(cluster: Cluster, volume: Volume) -> str:
    """A digest; of a file system or swap area, each of which has its own UUID, what it is and if whole."""
    if not cluster.data.stored(volume.data):
        return "empty"
    path = cluster.data.path(volume.data)
    with open(path, "rb") as file:
        if os.pread(file.fileno(), 2, _EXT4[0]) == _EXT4[1]:
            checked = subprocess.run(["e2fsck", "-fn", path], capture_output=True, check=False)
            return "ext4, whole" if checked.returncode == 0 else "ext4, damaged"
        if os.pread(file.fileno(), len(_SWAP[1]), _SWAP[0]) == _SWAP[1]:
            return "swap"
        return _digest(file, volume.size)


def _digest(file: BinaryIO, size: int) -> str:
    """Of the parts that are not zero: a hole and zeros are the same."""
    content, zeros = hashlib.sha256(), bytes(_PART)
    for offset in range(0, size, _PART):
        part = file.read(min(_PART, size - offset))
        if part != zeros[: len(part)]:
            content.update(b"%d " % offset + part.ljust(_PART, b"\0"))
    return content.hexdigest()[:12]


def _attachments(cluster: Cluster) -> Picture:
    known = cluster.table(Volume)
    return {
        f"attachment of {_title(known[gid])} at client {client}": each.rights
        for gid, clients in cluster.attached.items()
        for client, each in clients.items()
    }


def _files(host: Host) -> Picture:
    seen = {}
    for root in _ROOTS:
        start = host.path(root)
        for directory, below, files in os.walk(start):
            shown = root + directory[len(start) :]
            below[:] = [each for each in below if f"{shown}/{each}" not in _NOT_SHOWN]
            for each in below + files:
                seen[f"file {host.name}:{shown}/{each}"] = _file(os.path.join(directory, each))
    return seen


def _file(path: str) -> str:
    if os.path.islink(path):
        return f"-> {os.readlink(path)}"
    if os.path.isdir(path):
        return "directory"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:12]
