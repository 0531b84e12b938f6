"""mkimage and mkswap: a volatile disk of the asked size, with the file system that the guest expects."""

from __future__ import annotations

import subprocess

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.programs import needs
from tests.sweep import scene
from tests.tm import cloud

RAW, SWAP = "one-sys-42-0-raw", "one-sys-42-0-swap"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42", "type": "VOL", "diskid": "0"}


def ready(lab: Lab, disk: Volatile, **attributes: str) -> tuple[Vm, Command]:
    """A VM with one volatile disk, and the command that makes it."""
    vm = lab.vms.create(disk, **attributes)
    script = "mkswap" if disk.kind == "swap" else "mkimage"
    return vm, scene.upto(lab.vms.deploy(vm, "node1"), script)


def probe(lab: Lab, volume: str) -> str:
    """What blkid finds on a volume: type and label."""
    device = lab.hosts.nodes["node1"].device(volume)
    argv = ["blkid", "-p", "-o", "export", device]
    printed = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    found = dict(line.partition("=")[::2] for line in printed.splitlines())
    return " ".join(filter(None, (found.get("TYPE"), found.get("LABEL"))))


@pytest.mark.parametrize(
    ("disk", "volume", "content"),
    [
        (Volatile(4), RAW, ""),
        (Volatile(8, fs="ext4"), RAW, "ext4"),
        (Volatile(8, fs="EXT2"), RAW, "ext2"),
        pytest.param(Volatile(320, fs="xfs"), RAW, "xfs", marks=needs("mkfs.xfs")),
        (Volatile(4, "swap"), SWAP, "swap swap"),
    ],
    ids=["raw", "ext4", "EXT2", "xfs", "swap"],
)
def test_the_disk_is_whole_and_stays_so(lab: Lab, disk: Volatile, volume: str, content: str) -> None:
    _, command = ready(lab, disk, SP_QOSCLASS="gold;1:iron")
    result = cloud.succeeds(lab, command, times=2)
    shown = cloud.volume(lab, volume)
    assert (shown["size"], shown["templateName"]) == (disk.size_mib * cloud.MIB, "one-ds-100")
    assert cloud.tags(lab, volume) == {**TAGS, "qc": "gold"}
    assert cloud.attached(lab) == {volume: {"node1": "rw"}}
    assert cloud.links(lab, "node1") == {"disk.0": volume}
    assert probe(lab, volume) == content
    assert {**cloud.kinds(result), "rpc": 0} == {"rpc": 0, "api": 2, "ssh": 1}
    assert not cloud.asks_for_lists(result)


@pytest.mark.parametrize(
    ("change", "words", "code", "message"),
    [
        ({"FS": "reiser9"}, {}, 2, "file system 'reiser9' is not supported"),
        ({}, {1: "qcow2"}, 2, "format 'qcow2' is not supported"),
        ({}, {0: "0"}, 2, "a size of 0 MiB is not possible"),
        ({}, {0: "-4"}, 2, "a size of -4 MiB is not possible"),
        ({}, {0: str(1 << 63)}, 2, "a size of 9223372036854775808 MiB is not possible"),
        ({}, {0: "4.5"}, 2, "SIZE_MIB '4.5': is not a whole number"),
        ({}, {2: "node1:/var/lib/one/datastores/100/42/disk.9"}, 1, "VM 42 has no disk 9"),
        ({}, {2: "node1:/var/lib/one/datastores/100/42"}, 2, "is not the path of a disk"),
        ({}, {2: "disk.0"}, 2, "TARGET 'disk.0': is not HOST:/PATH"),
        ({}, {3: "43"}, 1, "43"),
        ({}, {4: "199"}, 1, "199"),
    ],
)
def test_what_is_not_possible_is_refused(
    lab: Lab, change: dict[str, str], words: dict[int, str], code: int, message: str
) -> None:
    vm, command = ready(lab, Volatile(4))
    vm.disks[0].update(change)
    args = [words.get(index, word) for index, word in enumerate(command.args)]
    line = cloud.refused(lab, command._replace(args=tuple(args)), code=code)
    assert message in line


@pytest.mark.parametrize("fs", ["", "ext4"])
def test_a_disk_that_is_too_large_for_the_cluster(lab: Lab, fs: str) -> None:
    _, command = ready(lab, Volatile(1 << 40, fs=fs))
    assert RAW in cloud.refused(lab, command)


def test_a_disk_that_is_too_small_for_its_file_system(lab: Lab) -> None:
    _, command = ready(lab, Volatile(4, fs="xfs"))
    assert f"mkfs.xfs on volume {RAW}" in cloud.refused(lab, command)


def test_options_for_mkfs(lab: Lab) -> None:
    lab.configure(FS_OPTS_ext4="-L data")
    _, command = ready(lab, Volatile(8, fs="ext4"))
    cloud.succeeds(lab, command)
    assert probe(lab, RAW) == "ext4 data"


def test_a_read_only_disk(lab: Lab) -> None:
    lab.configure(READONLY_MODE="ro")
    vm, command = ready(lab, Volatile(8))
    vm.disks[0]["READONLY"] = "YES"
    cloud.succeeds(lab, command, times=2)
    assert cloud.attached(lab) == {RAW: {"node1": "ro"}}
    assert cloud.tags(lab, RAW)["type"] == "VOLRO"


def test_anothers_volume_of_that_name(lab: Lab) -> None:
    _, command = ready(lab, Volatile(4))
    cloud.foreign(lab, RAW, {**TAGS, "nvm": "41"})
    assert "is another's (nvm is '41', not '42')" in cloud.refused(lab, command)


def test_a_larger_disk_than_before(lab: Lab) -> None:
    """An interrupted run made the volume; the disk was made larger before the next."""
    _, command = ready(lab, Volatile(4))
    cloud.succeeds(lab, command)
    again = command._replace(args=("8", *command.args[1:]))
    cloud.succeeds(lab, again)
    assert cloud.volume(lab, RAW)["size"] == 8 * cloud.MIB
