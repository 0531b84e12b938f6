"""Furnishes worlds for the sweep: what deployments and imports would leave, made without running a script."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Callable

from storpool_addon.lab.command import Command, Result, Steps, T
from storpool_addon.lab.lab import CLIENT_IDS, Lab
from storpool_addon.lab.machine import Vm, Volatile, is_volatile
from storpool_addon.lab.objects import Image

OURS = {"virt": "one", "nloc": "one"}
THEIRS = {"virt": "one", "nloc": "two"}
# Volumes and snapshots that no action of the table is about, with names that begin, go on or end like theirs.
NEIGHBOURS = (
    ("one-img-70", OURS, ""),
    ("one-img-7-42-10", OURS, "one-img-7-42-10-snap0"),
    ("one-img-7-421-0", OURS, "one-img-7-421-0-snap0"),
    ("two-img-7-42-0", THEIRS, "two-img-7-42-0-snap0"),
    ("a-one-img-7-42-0", THEIRS, "one-img-7-42-0-snap00"),
    ("one-img-7-42-0-a", THEIRS, "a-one-img-7-42-0-snap0"),
    ("one-sys-42-10-raw", OURS, ""),
    ("one-sys-421-1-raw", OURS, ""),
    ("one-sys-42-1-rawa", THEIRS, ""),
    ("one-sys-421-4-iso", OURS, ""),
)
FAKE_ANSWERS = {"stat": "4\n", "mkfs": "one-ds-101/one-img-8\n"}


def neighbours(lab: Lab) -> None:
    """Others' volumes, attached to a host that no action of the table is about."""
    for name, tags, snapshot in NEIGHBOURS:
        volume(lab, name, tags)
        if snapshot:
            lab.storpool(f"VolumeSnapshot/{name}", {"name": snapshot, "tags": tags})
    attach(lab, [name for name, _, _ in NEIGHBOURS], "node3")


def volume(
    lab: Lab, name: str, tags: dict[str, str], *, size_mib: int = 1, template: str = "one-ds-101"
) -> None:
    """An empty volume."""
    lab.storpool("VolumeCreate", {"name": name, "size": size_mib << 20, "template": template, "tags": tags})


def attach(lab: Lab, names: Iterable[str], *hosts: str) -> None:
    """Attach volumes to exactly these hosts."""
    clients = [CLIENT_IDS[host] for host in hosts]
    for name in names:
        item = {"volume": name, "detach": "all", "rw": clients, "force": True}
        lab.storpool("VolumesReassignWait", {"reassign": [item], "attachTimeout": 10})


def upto(steps: Steps[T], script: str, index: int = 0) -> Command:
    """The script of that name with that index among a verb's scripts, as if all before it had succeeded."""
    command = next(steps)
    while True:
        if command.name == script:
            if index == 0:
                return command
            index -= 1
        command = steps.send(_done(command))


def settle(steps: Steps[T]) -> T:
    """A verb's result, as if all its scripts had succeeded."""
    try:
        command = next(steps)
        while True:
            command = steps.send(_done(command))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _done(command: Command) -> Result:
    return Result(0, FAKE_ANSWERS.get(command.name, ""), "", [], 0.0)


def machine(lab: Lab, *disks: Image | Volatile, host: str = "node1", context: bool = True) -> Vm:
    """A VM that runs on a host, with its volumes, attachments, links and directory."""
    vm = lab.vms.create(*disks, context=context)
    settle(lab.vms.deploy(vm, host))
    for make in volumes(lab, vm).values():
        make()
    attach(lab, volumes(lab, vm), host)
    home(lab, vm, host)
    return vm


def old_cdrom(lab: Lab, vm: Vm, host: str) -> None:
    """The host has the image of the VM's first disk, and the other disks: as an old bash addon left it."""
    image = vm.disks[0]["SOURCE"].rpartition("/")[2]
    _, *others = volumes(lab, vm).items()
    for _, make in others:
        make()
    attach(lab, [image, *(name for name, _ in others)], host)
    home(lab, vm, host)
    link = os.path.join(lab.hosts.nodes[host].path(vm.home), "disk.0")
    os.unlink(link)
    os.symlink(f"/dev/storpool/{image}", link)


def home(lab: Lab, vm: Vm, host: str) -> None:
    """The VM's directory on a host."""
    lab.hosts.nodes[host].write(f"{vm.home}/deployment.0", "<domain/>\n")
    links(lab, vm, host)


def links(lab: Lab, vm: Vm, host: str, *, context: bool = True) -> None:
    """The links of the VM's disks, in its directory on a host."""
    directory = lab.hosts.nodes[host].path(vm.home)
    os.makedirs(directory, exist_ok=True)
    for disk_id, name in enumerate(volumes(lab, vm)):
        if disk_id not in vm.disks and not context:
            continue
        path = os.path.join(directory, f"disk.{disk_id}")
        if not os.path.islink(path):
            os.symlink(f"/dev/storpool/{name}", path)


def volumes(lab: Lab, vm: Vm) -> dict[str, Callable[[], None]]:
    """The VM's volumes in the order of its disks, the context image last; each with what makes it."""
    found = [_of_disk(lab, vm, disk_id, disk) for disk_id, disk in vm.disks.items()]
    if vm.context is not None:
        disk_id = int(vm.context["DISK_ID"])
        found.append(_made(lab, vm, disk_id, f"one-sys-{vm.id}-{disk_id}-iso", "CNTXT", {"size": 1 << 20}))
    return dict(found)


def _of_disk(lab: Lab, vm: Vm, disk_id: int, disk: dict[str, str]) -> tuple[str, Callable[[], None]]:
    size = int(disk["SIZE"]) << 20
    if is_volatile(disk):
        suffix = "swap" if disk["TYPE"] == "swap" else "raw"
        return _made(lab, vm, disk_id, f"one-sys-{vm.id}-{disk_id}-{suffix}", "VOL", {"size": size})
    image = disk["SOURCE"].rpartition("/")[2]
    if disk["TYPE"] == "CDROM":
        return _made(lab, vm, disk_id, f"{image}-{vm.id}-{disk_id}", "CDROM", {"baseOn": image})
    if disk["CLONE"] == "YES":
        return _made(lab, vm, disk_id, f"{image}-{vm.id}-{disk_id}", "NPERS", {"baseOn": image, "size": size})
    shared = "SHAREABLE" in disk or "PERSISTENT" not in disk
    wanted = _shared_tags(vm, disk_id, disk) if shared else _tags(vm, disk_id, "PERS")
    return image, lambda: lab.storpool(f"VolumeUpdate/{image}", {"tags": wanted})


def _made(
    lab: Lab, vm: Vm, disk_id: int, name: str, kind: str, body: dict[str, object]
) -> tuple[str, Callable[[], None]]:
    template = {} if "baseOn" in body else {"template": "one-ds-100"}
    wanted = {"name": name, "tags": _tags(vm, disk_id, kind), **template, **body}
    return name, lambda: lab.storpool("VolumeCreate", wanted)


def _shared_tags(vm: Vm, disk_id: int, disk: dict[str, str]) -> dict[str, str]:
    """Those of an image that several VMs may have: each adds one of its own."""
    kind = "PERS" if "SHAREABLE" in disk else "IMMUT"
    return {**OURS, f"nvm-{vm.id}-{disk_id}": str(CLIENT_IDS[vm.here.host]), "type": kind}


def _tags(vm: Vm, disk_id: int, kind: str) -> dict[str, str]:
    return {**OURS, "nvm": str(vm.id), "qc": "", "type": kind, "diskid": str(disk_id)}
