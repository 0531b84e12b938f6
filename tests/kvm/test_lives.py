"""VMs on real libvirt and QEMU, with the stock scripts played on the hosts; needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest

from storpool_addon.lab.command import StepFailed
from storpool_addon.lab.conductor import Fault
from storpool_addon.lab.hosts import Host
from storpool_addon.lab.inside import OURS
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import DONE, Vm
from tests.kvm import guests
from tests.tm import cloud

pytestmark = pytest.mark.xdist_group("libvirt")


@pytest.fixture(scope="module")
def lab(libvirt_lab: Lab) -> Iterator[Lab]:
    """Our scripts in the place of OpenNebula's, where there are some."""
    libvirt_lab.configure(SP_CHECKPOINT_BD=1, DEPLOY_TWEAKS="iothreads", MIGRATE_TWEAKS="disable-iothreads")
    libvirt_lab.hypervisor.local.update(OURS)
    yield libvirt_lab
    for vm in [each for each in libvirt_lab.oned.vms.values() if each.state != DONE]:
        guests.end(libvirt_lab, vm)
    libvirt_lab.hypervisor.local.clear()
    libvirt_lab.configure()


@pytest.fixture
def vm(lab: Lab) -> Vm:
    """A VM that runs on node1: that of the test before, where it still does."""
    for vm in [each for each in lab.oned.vms.values() if each.state != DONE]:
        if lab.domains.where(vm) == {"node1": "running"}:
            return vm
        guests.end(lab, vm)
    vm = guests.created(lab)
    lab.do(lab.vms.deploy(vm, "node1"))
    return vm


def test_a_start_that_is_killed(lab: Lab) -> None:
    """The context is a volume, which QEMU takes for a device only; a repeat finds what runs."""
    vm = guests.created(lab)
    steps = lab.vms.deploy(vm, "node1")
    command = lab.until(steps, "deploy-tweaks")
    first = lab.run(command)
    ssh = [number for number, call in enumerate(first.calls, 1) if call.kind == "ssh"]
    lab.domains.virsh("node1", "destroy", f"one-{vm.id}")
    assert lab.run(command, Fault(ssh[-1], "after", "kill")).exit_code == -9
    result = lab.run(command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.split() == [lab.domains.virsh("node1", "domuuid", f"one-{vm.id}")]
    with suppress(StopIteration):
        steps.send(result)
    seen = lab.hosts.nodes["node1"].run(
        f"grep -o '^<VM>' {vm.home}/vm.xml; grep -o '^<DATA[A-Z]*>' {vm.home}/ds.xml"
    )
    assert seen.stdout.split() == ["<VM>", "<DATASTORE>"]
    lab.do(lab.vms.update_context(vm, COLOUR="blue"))
    assert guests.disks(lab, vm) == {"vda", "vdb", "sda"}


def test_hot_plug(lab: Lab, vm: Vm) -> None:
    """A script that was killed once it had done its work finds that done."""
    image = lab.give_image(size_mib=8)
    image.attributes["DEV_PREFIX"] = "sd"
    guests.killed(lab, lab.vms.attach_disk(vm, image), {"attach_disk.storpool": [1]})
    number = max(vm.disks)
    assert guests.disks(lab, vm) == {"vda", "vdb", "sda", "sdd"}
    lab.do(lab.vms.resize_disk(vm, number, 12))
    info = lab.domains.virsh("node1", "domblkinfo", f"one-{vm.id}", "sdd").split()
    assert info[:2] == ["Capacity:", str(12 << 20)]
    guests.killed(lab, lab.vms.detach_disk(vm, number), {"detach_disk.storpool": [1]})
    assert guests.disks(lab, vm) == {"vda", "vdb", "sda"}
    assert number not in vm.disks and len(guests.volumes(lab, vm)) == 3


def test_a_cd_in_a_drive_that_stays(lab: Lab) -> None:
    vm = guests.created(lab)
    vm.user_attributes["T_PERSISTENT_CDROM"] = "1"
    lab.do(lab.vms.deploy(vm, "node1"))
    assert drive(lab, vm) == "-"
    image = lab.give_image(size_mib=4, type="CDROM")
    image.attributes["DEV_PREFIX"] = "hd"
    number = lab.do(lab.vms.attach_disk(vm, image))
    assert drive(lab, vm).endswith(f"/{vm.id}/disk.{number}")
    lab.do(lab.vms.detach_disk(vm, number))
    assert drive(lab, vm) == "-"
    guests.end(lab, vm)


def drive(lab: Lab, vm: Vm) -> str:
    """What is in the VM's IDE drive."""
    lines = lab.domains.virsh("node1", "domblklist", f"one-{vm.id}").splitlines()
    (source,) = [line.split()[1] for line in lines if line.split()[:1] and line.split()[0].startswith("hd")]
    return source


def test_a_vm_moves_while_it_runs(lab: Lab, vm: Vm) -> None:
    """There, with the scripts around it killed once they have attached and detached, and back."""
    counted = guests.counts_on(lab, vm, 20)
    # What a tweak has added as it started, another takes away as it moves.
    assert "iothread='1'" in lab.domains.virsh("node1", "dumpxml", f"one-{vm.id}")
    # The second ssh of ours migrates: a repeat finds a guest that has arrived.
    numbers = {"premigrate": [6], "migrate-tweaks": [2], "postmigrate": [6]}
    guests.killed(lab, lab.vms.live_migrate(vm, "node2"), numbers)
    assert "iothread='1'" not in lab.domains.virsh("node2", "dumpxml", f"one-{vm.id}")
    assert lab.domains.where(vm) == {"node2": "running"} and guests.holders(lab, vm) == {"node2"}
    counted = guests.counts_on(lab, vm, counted)
    lab.do(lab.vms.live_migrate(vm, "node1"))
    assert lab.domains.where(vm) == {"node1": "running"} and guests.holders(lab, vm) == {"node1"}
    guests.counts_on(lab, vm, counted)


def test_a_vm_moves_while_it_sleeps(lab: Lab, vm: Vm) -> None:
    """Its memory is on a volume, until it is reset. Scripts are killed when the guest is saved, and when it
    runs again.
    """
    memory = f"one-sys-{vm.id}-rawcheckpoint"
    counted = guests.counts_on(lab, vm, 20)
    guests.killed(lab, lab.domains.suspend(vm), {"tmsave": [4]})
    assert lab.domains.where(vm) == {}
    assert lab.read_volume(memory, 16).startswith(b"LibvirtQemudSave")
    lab.do(lab.vms.migrate(vm, "node2"))
    guests.killed(lab, lab.vms.resume(vm), {"tmrestore": [4]})
    assert lab.domains.where(vm) == {"node2": "running"} and guests.holders(lab, vm) == {"node2"}
    counted = guests.counts_on(lab, vm, counted)
    assert memory not in guests.volumes(lab, vm)
    lab.do(lab.domains.stop(vm))
    assert (lab.domains.where(vm), set(cloud.attached(lab)) & guests.volumes(lab, vm)) == ({}, set())
    lab.do(lab.vms.resume(vm, "node1"))
    assert lab.domains.where(vm) == {"node1": "running"} and guests.holders(lab, vm) == {"node1"}
    counted = guests.counts_on(lab, vm, counted)
    lab.do(lab.domains.reboot(vm, hard=True))
    guests.until(lambda: guests.ticks(lab, vm) < counted)


@pytest.fixture
def migration(lab: Lab, vm: Vm) -> Iterator[Future[None]]:
    """A live migration to node2 that is held up in the middle: the QEMU that receives it has been stopped."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lab.do, lab.vms.live_migrate(vm, "node2"))
        pid = guests.process(lab, vm, "node2")
        lab.hosts.nodes["node2"].run(f"kill -STOP {pid}")
        yield running


def test_power_cut_where_the_guest_goes_to(lab: Lab, vm: Vm, migration: Future[None]) -> None:
    """I4: what runs keeps its disks, and nobody else has them."""
    lab.power_off("node2")
    with pytest.raises(StepFailed):
        migration.result()
    lab.power_on("node2")
    assert lab.domains.where(vm) == {"node1": "running"} and guests.holders(lab, vm) == {"node1"}
    guests.counts_on(lab, vm, guests.ticks(lab, vm))


def test_the_daemon_dies_where_the_guest_goes_to(lab: Lab, vm: Vm, migration: Future[None]) -> None:
    """I4; libvirtd comes back and ends what it was given."""
    node2 = lab.hosts.nodes["node2"]
    receiver = guests.process(lab, vm, "node2")
    as_root(node2, "kill -KILL $(cat /run/libvirtd.pid)")
    node2.run(f"kill -CONT {receiver}")
    with pytest.raises(StepFailed):
        migration.result()
    assert lab.domains.where(vm) == {"node1": "running"} and guests.holders(lab, vm) == {"node1"}
    assert node2.run(f"kill -0 {receiver}").returncode != 0


def test_the_guest_dies_where_it_comes_from(lab: Lab, vm: Vm, migration: Future[None]) -> None:
    """I4; it starts anew on the host that oned has it on."""
    receiver = guests.process(lab, vm, "node2")
    lab.hosts.nodes["node1"].run(f"kill -KILL {guests.process(lab, vm, 'node1')}")
    lab.hosts.nodes["node2"].run(f"kill -CONT {receiver}")
    with pytest.raises(StepFailed):
        migration.result()
    assert lab.domains.where(vm) == {} and guests.holders(lab, vm) == {"node1"}
    lab.vms.poweroff(vm)
    lab.do(lab.vms.resume(vm))
    assert lab.domains.where(vm) == {"node1": "running"}


def test_power_cut_where_the_guest_comes_from(lab: Lab, vm: Vm, migration: Future[None]) -> None:
    """I4, I10: nothing runs, and the VM can be started on the host that is left."""
    lab.power_off("node1")
    lab.hosts.nodes["node2"].run(f"kill -CONT {guests.process(lab, vm, 'node2')}")
    with pytest.raises(StepFailed):
        migration.result()
    assert guests.holders(lab, vm) == {"node1"}
    lab.do(lab.vms.evacuate(vm, "node2"))
    lab.power_on("node1")
    assert lab.domains.where(vm) == {"node2": "running"} and guests.holders(lab, vm) == {"node2"}


def as_root(host: Host, command: str) -> None:
    """Run a command on a host as root."""
    subprocess.run([*host.enter[: host.enter.index("--") + 1], "bash", "-c", command], check=True)
