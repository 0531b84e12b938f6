"""What may come in the way of a backup: hosts, disks, bases, and other VMs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.second import Second
from tests.tm import cloud
from tests.tm.backups import BACKUP, DISK, files, is_clean, machine, written
from tests.tm.cloud import HOME

pytestmark = pytest.mark.needs("qemu-img")

# Which base an increment has


def prepared(lab: Lab, vm: Vm) -> None:
    """A backup that succeeds."""
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    lab.vm_backups.succeeded(vm, 31)


def spoilt(lab: Lab, how: str) -> None:
    """Make the snapshot of increment 1 one that increment 2 must not be compared with."""
    name = f"{DISK}-ONEBACKUP-odd"
    tags = {"gone": {}, "another VM's": {"nvm": "43"}, "another chain's": {"backup": "30:1"},
            "another number's": {"backup": "31:3"}, "as it was": {}}[how]  # fmt: skip
    if how == "gone":
        lab.storpool(f"SnapshotDelete/{name}", {})
    elif tags:
        lab.storpool(f"SnapshotUpdate/{name}", {"tags": tags})


@pytest.mark.parametrize("how", ["as it was", "gone", "another VM's", "another chain's", "another number's"])
def test_only_the_snapshot_of_the_last_increment_is_a_base(lab: Lab, how: str) -> None:
    image = lab.give_image(content=bytes(range(256)) * 4096)
    vm = machine(lab, image, MODE="INCREMENT")
    for _ in range(2):
        prepared(lab, vm)
    spoilt(lab, how)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    assert (written(lab, "disk.0.2") < 100_000) == (how == "as it was")


def test_a_failed_backup_is_made_anew_from_the_same_base(lab: Lab) -> None:
    vm = machine(lab, MODE="INCREMENT")
    prepared(lab, vm)
    for content in (b"lost with the datastore", b"the second try"):
        with open(lab.hosts.nodes["node1"].device(DISK), "r+b") as device:
            device.write(content)
        cloud.succeeds(lab, lab.vm_backups.pre(vm))
        made = Path(lab.hosts.nodes["node1"].path(f"{BACKUP}/disk.0.1")).read_bytes()
        assert content in made
        cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-even", f"{DISK}-ONEBACKUP-odd"}


@pytest.mark.parametrize("mode", ["FULL", "INCREMENT"])
def test_a_new_chain_frees_what_the_old_one_kept(lab: Lab, mode: str) -> None:
    vm = machine(lab, MODE="INCREMENT")
    for _ in range(2):
        prepared(lab, vm)
    lab.vm_backups.configure(vm, MODE="FULL")
    lab.vm_backups.configure(vm, MODE=mode)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    word = "full" if mode == "FULL" else "even"
    assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-{word}"}
    assert files(lab) == {"vm.xml", "disk.0.0"}


# Where it is written


def test_a_bridge_host_writes_the_files(lab: Lab) -> None:
    vm = machine(lab, LAST_BRIDGE="node2")
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    assert files(lab, "node2") == {"vm.xml", "disk.0.0"} and not files(lab, "node1")
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert is_clean(lab, "node2") and not Path(lab.hosts.nodes["node2"].path(HOME)).exists()


def test_a_place_of_its_own(lab: Lab) -> None:
    place = "/var/tmp/backups"
    lab.hosts.frontend.write(
        "/var/lib/one/remotes/etc/datastore/datastore.conf", f'BACKUP_BASE_PATH="{place}"\n'
    )
    vm = machine(lab)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    assert files(lab, place=f"{place}/42/backup") == {"vm.xml", "disk.0.0"} and not files(lab)
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert is_clean(lab, place=f"{place}/42")


def test_a_full_host(lab: Lab) -> None:
    vm = machine(lab, lab.give_image(content=bytes(range(256)) * 8192))
    program = Path(lab.directory, "hostbin", "qemu-img")
    program.write_text(
        '#!/bin/sh\necho "qemu-img: error while writing: No space left on device" >&2; exit 1\n'
    )
    program.chmod(0o755)
    line = cloud.fails(lab, lab.vm_backups.pre(vm))
    assert "node1" in line and "disk.0.0: qemu-img: error while writing: No space left on device" in line
    assert line.endswith(f"make room where {BACKUP} is, or set BACKUP_BASE_PATH")
    assert is_clean(lab)


def test_a_dead_host_is_no_obstacle_to_the_clean_up(lab: Lab) -> None:
    vm = machine(lab)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    lab.power_off("node1")
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert cloud.snapshots(lab) == {}
    lab.configure(ATTACH_TIMEOUT=1)
    assert "11" in cloud.fails(lab, lab.vm_backups.pre(vm))
    assert cloud.snapshots(lab) == {}


def test_it_stands_back_as_the_datastore_says(lab: Lab) -> None:
    lab.backups.add_datastore(RSYNC_NICE="7", RSYNC_IONICE="3")
    vm = machine(lab, LAST_DATASTORE_ID="110")
    for name in ("nice", "ionice"):
        program = Path(lab.directory, "hostbin", name)
        program.write_text(
            f'#!/bin/sh\necho {name} "$1" "$2" "$3" "$4" >>/var/tmp/said\nexec /usr/bin/{name} "$@"\n'
        )
        program.chmod(0o755)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    said = lab.hosts.nodes["node1"].run("cat /var/tmp/said").stdout.splitlines()
    assert [line.split() for line in said] == [
        ["nice", "-n", "7", "ionice", "-c"],
        ["ionice", "-c", "2", "-n", "3"],
    ]


# What cannot be backed up


def foreign(vm: Vm) -> None:
    vm.disks[0]["TM_MAD"] = "ceph"


def interactive(vm: Vm) -> None:
    vm.backup["INTERACTIVE"] = "YES"


def unknown_mode(vm: Vm) -> None:
    vm.backup["MODE"] = "SOMETIMES"


def no_number(vm: Vm) -> None:
    vm.backup.update(MODE="INCREMENT", LAST_INCREMENT_ID="x")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (foreign, 1, "disk 0 of VM 42 is kept by ceph"),
        (interactive, 1, "VM 42: this driver makes no interactive backups"),
        (unknown_mode, 2, "'SOMETIMES' is neither FULL nor INCREMENT"),
        (no_number, 2, "LAST_INCREMENT_ID 'x' is not a whole number"),
    ],
)
def test_refusals(lab: Lab, spoil: Callable[[Vm], None], code: int, words: str) -> None:
    vm = machine(lab)
    spoil(vm)
    assert words in cloud.refused(lab, lab.vm_backups.pre(vm), code=code)
    if code == 1:
        cloud.succeeds(lab, lab.vm_backups.post(vm))


def test_words_that_do_not_fit(lab: Lab) -> None:
    vm = machine(lab)
    command = lab.vm_backups.pre(vm)
    place, _, *rest = command.args
    assert "no disk 5" in cloud.refused(lab, command._replace(args=(place, "0:5", *rest)))
    assert "DISK_IDS" in cloud.refused(lab, command._replace(args=(place, "0,1", *rest)), code=2)
    elsewhere = ("node1:/var/lib/one/datastores/100/43", "0", *rest)
    assert "VM 42" in cloud.refused(lab, command._replace(args=elsewhere), code=2)
    others = (*command.args[:-2], "43", "100")
    cloud.refused(lab, command._replace(args=("node1:/var/lib/one/datastores/100/43", *others[1:])), code=1)


def test_what_a_newer_oned_adds_is_left_out(lab: Lab) -> None:
    vm = machine(lab)
    command = lab.vm_backups.post(vm)
    more = command.stdin + b"<BACKUP_RESULT>SUCCESS</BACKUP_RESULT>"
    cloud.succeeds(lab, command._replace(stdin=more))


# Others' objects, and our own later on


def test_anothers_snapshot_of_our_name_stays(lab: Lab) -> None:
    vm = machine(lab)
    cloud.foreign(lab, "elsewhere", {"virt": "one", "nloc": "two"}, f"{DISK}-ONEBACKUP-full")
    assert f"{DISK}-ONEBACKUP-full" in cloud.fails(lab, lab.vm_backups.pre(vm))
    assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-full"}


@pytest.mark.parametrize("persistent", [False, True])
def test_nothing_outlives_the_vm(lab: Lab, persistent: bool) -> None:
    vm = machine(lab, lab.give_image(persistent=persistent), MODE="INCREMENT")
    for _ in range(2):
        prepared(lab, vm)
    assert len(cloud.snapshots(lab)) == 2
    lab.do(lab.vms.terminate(vm))
    assert not [name for name in cloud.snapshots(lab) if "ONEBACKUP" in name]


@pytest.mark.parametrize("kind", ["SHAREABLE", "IMMUTABLE"])
def test_vms_of_one_image_have_backups_of_their_own(lab: Lab, kind: str) -> None:
    image = lab.give_image(persistent=True, content=b"first" * 1000)
    image.attributes["PERSISTENT_TYPE"] = kind
    first, second = (machine(lab, image, MODE="INCREMENT") for _ in range(2))
    for vm in (first, second, first, second):
        prepared(lab, vm)
    names = {
        vm.id: {f"one-img-7-ONEBACKUP-{vm.id}-0-{word}" for word in ("even", "odd")} for vm in (first, second)
    }
    assert set(cloud.snapshots(lab)) == names[first.id] | names[second.id]
    lab.do(lab.vms.terminate(first))
    assert set(cloud.snapshots(lab)) == names[second.id]
    lab.do(lab.vms.terminate(second))
    assert cloud.snapshots(lab) == {}


def test_two_clusters(lab: Lab, tmp_path: Path) -> None:
    with Second(lab, tmp_path, {"node1": 21, "node2": 22}) as second:
        second.datastore.attributes.update(second.address, SP_CLUSTER_ID="d.m")
        for host in lab.oned.hosts.values():
            host.attributes.update(SP_CLUSTER_ID="d.n", SP_OURID_D_M=str(second.clients[host.name]))
        vm = lab.vms.create(
            lab.give_image(content=b"here"), second.give_image(persistent=True), context=False
        )
        lab.do(lab.vms.deploy(vm, "node1"))
        lab.vm_backups.configure(vm)
        vm.lcm_state = 69
        cloud.succeeds(lab, lab.vm_backups.pre(vm))
        assert files(lab) == {"vm.xml", "disk.0.0", "disk.1.0"}
        snapshots = [each["name"] for each in second.ask("SnapshotsList")]
        assert "one-img-8-ONEBACKUP-full" in snapshots
        assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-full"}
        cloud.succeeds(lab, lab.vm_backups.post(vm))
        assert is_clean(lab)
        assert "one-img-8-ONEBACKUP-full" not in [each["name"] for each in second.ask("SnapshotsList")]
