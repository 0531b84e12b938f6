"""The transfer manager with real sshd, block devices and a service user; needs root and loop devices."""

from __future__ import annotations

import os
import signal
import subprocess

from storpool_addon.lab.conductor import Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.sweep import scene
from tests.tm import cloud

COPY, RAW, SWAP, CONTEXT = "one-img-7-42-0", "one-sys-42-1-raw", "one-sys-42-2-swap", "one-sys-42-3-iso"
NAMES = (COPY, RAW, SWAP, CONTEXT)


def deployed(lab: Lab) -> Vm:
    """A VM on node1, with a disk of each kind."""
    image = lab.give_image(size_mib=16, content=b"hello")
    vm = lab.vms.create(image, Volatile(16, fs="ext4"), Volatile(16, "swap"))
    lab.do(lab.vms.deploy(vm, "node1"))
    return vm


def probe(lab: Lab, host: str, path: str) -> str:
    """What blkid on the host says of a disk."""
    return (
        cloud.at(lab, host)
        .run(f"PATH=$PATH:/sbin:/usr/sbin; blkid -p -o value -s TYPE {path}")
        .stdout.strip()
    )


def use(lab: Lab, host: str, name: str) -> subprocess.Popen[bytes]:
    """A process on the host that has a disk open, as a guest's qemu has."""
    node = lab.hosts.nodes[host]
    argv = [*node.enter, "bash", "-c", f"exec 9</dev/storpool/{name}; echo open; exec sleep 60"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout and process.stdout.readline() == b"open\n"
    return process


def test_the_life_of_a_vm(real_lab: Lab) -> None:
    lab = real_lab
    vm = deployed(lab)
    node1 = lab.hosts.nodes["node1"]
    assert (
        node1.run(f"head -c5 {vm.home}/disk.0; test -b {vm.home}/disk.0 && echo device").stdout
        == "hellodevice\n"
    )
    found = [probe(lab, "node1", f"{vm.home}/disk.{number}") for number in (1, 2, 3)]
    assert found == ["ext4", "swap", "iso9660"]
    assert node1.run(f"stat -c %U {vm.home}").stdout == "oneadmin\n"
    node1.run(f"echo saved > {vm.home}/checkpoint; chmod 600 {vm.home}/checkpoint")

    lab.do(lab.vms.live_migrate(vm, "node2"))
    assert cloud.attached(lab) == {name: {"node2": "rw"} for name in NAMES}
    assert node1.run(f"ls {vm.home} /dev/storpool/*").stdout == ""
    assert lab.hosts.nodes["node2"].run(f"cat {vm.home}/checkpoint").stdout == "saved\n"

    lab.vms.poweroff(vm)
    lab.do(lab.vms.migrate(vm, "node1"))
    assert cloud.attached(lab) == {name: {"node1": "rw"} for name in NAMES}
    assert node1.run(f"cat {vm.home}/checkpoint; head -c5 {vm.home}/disk.0").stdout == "saved\nhello"

    lab.do(lab.vms.resume(vm))
    lab.do(lab.vms.resize_disk(vm, 0, 32))
    assert node1.run(f"blockdev --getsize64 $(readlink -f {vm.home}/disk.0)").stdout in ("", f"{32 << 20}\n")

    lab.do(lab.disk_snapshots.create(vm, 0))
    lab.vms.poweroff(vm)
    assert node1.run(f"printf HELLO | dd of={vm.home}/disk.0 conv=notrunc,fsync status=none").returncode == 0
    lab.do(lab.disk_snapshots.revert(vm, 0, 0))
    assert node1.run(f"head -c5 {vm.home}/disk.0").stdout == "hello"
    lab.do(lab.vms.terminate(vm))
    assert cloud.attached(lab) == {} and cloud.volumes(lab) == {"one-img-7"}
    assert node1.run(f"ls -d {vm.home}").returncode != 0


VIRSH = "echo $3 >>/var/tmp/virsh; chmod 666 /var/tmp/virsh"


def test_a_frozen_guest_is_thawed_when_the_driver_is_killed(real_lab: Lab) -> None:
    """I8, with a real ssh between the two."""
    lab = real_lab
    node1 = lab.hosts.nodes["node1"]
    # As root, in the host's own view of the machine's files.
    as_root = node1.enter[: node1.enter.index("--") + 1]
    subprocess.run([*as_root, "mount", "-t", "tmpfs", "none", "/usr/local/bin"], check=True)
    virsh = f"printf '#!/bin/sh\\n%s\\n' '{VIRSH}' >/usr/local/bin/virsh && chmod 755 /usr/local/bin/virsh"
    subprocess.run([*as_root, "sh", "-c", virsh], check=True)
    lab.configure(DISK_SNAPSHOT_FSFREEZE=1)
    vm = lab.vms.create(lab.give_image(), context=False)
    lab.do(lab.vms.deploy(vm, "node1"))
    command = scene.upto(lab.disk_snapshots.create(vm, 0), "snap_create_live")
    kill = [each.what for each in lab.run(command).calls].index(
        "VolumeSnapshot one-img-7-42-0 one-img-7-42-0-snap0"
    )
    assert node1.run("cat /var/tmp/virsh").stdout == "domfsfreeze\ndomfsthaw\n"
    assert lab.run(command, Fault(kill + 1, "before", "kill")).exit_code == -9
    wanted = node1.run(
        "for i in $(seq 50); do [ $(grep -c thaw /var/tmp/virsh) = 2 ] && break; sleep 0.1; done"
    )
    assert wanted.returncode == 0
    assert node1.run("cat /var/tmp/virsh").stdout == "domfsfreeze\ndomfsthaw\n" * 2


def test_a_guest_that_runs_keeps_its_disks(real_lab: Lab) -> None:
    """D-34, I4: an open block device is what says that a guest runs."""
    lab = real_lab
    image = lab.give_image(size_mib=16, persistent=True)
    first = lab.vms.create(image, context=False)
    lab.do(lab.vms.deploy(first, "node1"))
    guest = use(lab, "node1", "one-img-7")
    try:
        second = scene.upto(lab.vms.deploy(lab.vms.create(image, context=False), "node2"), "ln")
        assert "'one-img-7' is open at client 11" in cloud.fails(lab, second)
        assert cloud.attached(lab) == {"one-img-7": {"node1": "rw"}}
        assert cloud.tags(lab, "one-img-7")["nvm"] == str(first.id)
    finally:
        # Entering a host's processes takes a fork: the one that holds the device is another.
        os.killpg(guest.pid, signal.SIGKILL)
        guest.communicate()


def test_a_host_that_died_is_left_behind(real_lab: Lab) -> None:
    """I10."""
    lab = real_lab
    vm = deployed(lab)
    lab.power_off("node1")
    lab.do(lab.vms.evacuate(vm, "node2"))
    assert cloud.attached(lab) == {name: {"node2": "rw"} for name in NAMES}
    assert probe(lab, "node2", f"{vm.home}/disk.1") == "ext4"
    lab.do(lab.vms.terminate(vm))
    assert cloud.volumes(lab) == {"one-img-7"}
