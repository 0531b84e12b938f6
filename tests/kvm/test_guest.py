"""A Linux that SeaBIOS boots from a disk that was imported and cloned: what it sees of what is done to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storpool_addon.lab.console import GuestError
from storpool_addon.lab.guest import Guest
from storpool_addon.lab.inside import OURS, Inside
from storpool_addon.lab.lab import Lab
from tests.kvm.linux import new_vm
from tests.tm import cloud

pytestmark = pytest.mark.xdist_group("libvirt")
MIB = 1 << 20
COUNT = "attach vdb data; count /data/count; await test -e /run/count"


@pytest.fixture(scope="module")
def linux(libvirt_lab: Lab, guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """It runs, its data are mounted at /data, and it counts there all the time."""
    lab = libvirt_lab
    lab.hypervisor.local.update(OURS)
    lab.configure(SP_CHECKPOINT_BD="1", VMSNAPSHOT_FSFREEZE="1", DISK_SNAPSHOT_FSFREEZE="1")
    vm, *images = new_vm(lab, guest, str(tmp_path_factory.mktemp("guest")))
    vm.user_attributes["T_PERSISTENT_CDROM"] = "1"
    inside = Inside(lab, vm)
    inside.start("node1")
    inside.run(COUNT)
    yield inside
    assert inside.run("wrong") == ""
    # The power button: the guest ends by itself.

    lab.do(lab.vms.terminate(vm))
    inside.console.close()
    assert lab.domains.where(vm) == {} and not any(cloud.attached(lab).values())
    for image in images:
        lab.do(lab.images.delete(image))
    lab.hypervisor.local.clear()


def counts(linux: Inside) -> int:
    """The guest goes on counting, and has read what it wrote; how far it is."""
    counted = int(linux.run("goes_on"))
    assert linux.run("wrong") == ""
    return counted


def test_the_guest_obeys_its_console(linux: Inside) -> None:
    console = linux.console
    assert console.ask("echo one; false; echo two; exit 3 | true; false") == (1, "one\ntwo")
    assert console.ask("") == (0, "")
    with pytest.raises(GuestError, match=r"`no-such-program` ended with 127: .*not found"):
        console.run("no-such-program")
    with pytest.raises(GuestError, match=r"said nothing like .*done"):
        console.ask("sleep 1", timeout_s=0.1)
    assert {"vda", "vdb"} < set(linux.disks())


def test_what_it_writes_is_on_its_volumes(linux: Inside) -> None:
    linux.run("attach vda boot && store /boot/note 'written on the clone' && umount /boot")
    linux.run("store /data/note 'written on the persistent image'")
    boot, data = linux.vm.disks[0]["IMAGE_ID"], linux.vm.disks[1]["IMAGE_ID"]
    clone = linux.lab.read_volume(f"one-img-{boot}-{linux.vm.id}-0")
    assert b"written on the clone" in clone
    assert b"written on the clone" not in linux.lab.read_volume(f"one-img-{boot}")
    assert b"written on the persistent image" in linux.lab.read_volume(f"one-img-{data}")


def test_a_live_migration(linux: Inside) -> None:
    linux.run("token=kept")
    before = counts(linux)
    linux.lab.do(linux.lab.vms.live_migrate(linux.vm, "node2"))
    linux.follow()
    assert counts(linux) > before and linux.run('echo "$token"') == "kept"
    assert linux.lab.domains.where(linux.vm) == {"node2": "running"}
    assert {str(where) for where in cloud.attached(linux.lab).values()} == {str({"node2": "rw"})}


def test_its_memory_waits_on_a_volume_and_moves_with_it(linux: Inside) -> None:
    before = counts(linux)
    linux.lab.do(linux.lab.domains.suspend(linux.vm))
    memory = f"one-sys-{linux.vm.id}-rawcheckpoint"
    assert linux.lab.read_volume(memory, 16) == b"LibvirtQemudSave"
    linux.lab.do(linux.lab.vms.migrate(linux.vm, "node1"))
    linux.lab.do(linux.lab.vms.resume(linux.vm))
    linux.follow()
    assert counts(linux) > before
    assert linux.lab.domains.where(linux.vm) == {"node1": "running"}
    assert memory not in cloud.volumes(linux.lab)


def test_a_disk_grows(linux: Inside) -> None:
    linux.lab.do(linux.lab.vms.resize_disk(linux.vm, 0, 48))
    linux.lab.do(linux.lab.vms.resize_disk(linux.vm, 1, 24))
    disks = linux.disks()
    assert (disks["vda"], disks["vdb"]) == (48 * MIB, 24 * MIB)


def test_a_cd_comes_and_goes(linux: Inside) -> None:
    lab = linux.lab
    image = lab.give_image(size_mib=4, type="CDROM", content=b"on the CD")
    image.attributes["DEV_PREFIX"] = "hd"
    before = set(linux.disks())
    (drive,) = set(linux.run("cd /sys/block && ls -d sr*; cd /").split()) - before
    number = lab.do(lab.vms.attach_disk(linux.vm, image))
    assert linux.run(f"await head -c 1 /dev/{drive} && head -c 9 /dev/{drive}") == "on the CD"
    lab.do(lab.vms.detach_disk(linux.vm, number))
    linux.run(f"await no head -c 1 /dev/{drive}")
    assert set(linux.disks()) == before
    lab.do(lab.images.delete(image))


def test_its_context_is_made_anew(linux: Inside) -> None:
    (drive,) = (name for name in linux.disks() if name.startswith("sr"))
    show = f"attach {drive} context; cat /context/context.sh; umount /context"
    before = linux.run(show)
    linux.lab.do(linux.lab.vms.update_context(linux.vm, GREETING="hello"))
    after = linux.run(show)
    assert "GREETING" not in before and "GREETING='hello'" in after.splitlines()


def test_a_disk_is_plugged_in_and_out(linux: Inside) -> None:
    image = linux.lab.give_image(size_mib=8, content=b"the first bytes")
    number = linux.lab.do(linux.lab.vms.attach_disk(linux.vm, image))
    linux.run("await test -b /dev/vdc")
    assert linux.run("head -c 15 /dev/vdc") == "the first bytes"
    linux.run("printf changed >/dev/vdc && sync")
    (name,) = (each for each in cloud.volumes(linux.lab) if each.startswith(f"one-img-{image.id}-"))
    assert linux.lab.read_volume(name, 7) == b"changed"
    linux.lab.do(linux.lab.vms.detach_disk(linux.vm, number))
    linux.run("await test ! -e /dev/vdc")
    assert "vdc" not in linux.disks()
    linux.lab.do(linux.lab.images.delete(image))


def test_a_disk_goes_back_while_the_guest_is_off(linux: Inside) -> None:
    lab, vm = linux.lab, linux.vm
    linux.run("store /data/note 'before the disk snapshot'")
    number = lab.do(lab.disk_snapshots.create(vm, 1))
    linux.run("store /data/note 'after it'")
    lab.do(lab.domains.poweroff(vm))
    lab.do(lab.disk_snapshots.revert(vm, 1, number))
    lab.do(lab.vms.resume(vm))
    linux.follow()
    linux.console.wait_ready()
    linux.run(COUNT)
    assert linux.run("cat /data/note") == "before the disk snapshot"
    lab.do(lab.disk_snapshots.delete(vm, 1, number))


def test_all_of_it_goes_back_to_a_vm_snapshot(linux: Inside) -> None:
    """Memory and disks are of one moment: the guest goes on from there, and finds nothing amiss."""
    lab, vm = linux.lab, linux.vm
    vm.user_attributes["VMSNAPSHOT_WITH_CHECKPOINT"] = "YES"
    linux.run("store /data/note 'before the VM snapshot'; token=before")
    number = lab.do(lab.vm_snapshots.create(vm))
    linux.follow()
    linux.run("store /data/note 'after it'; token=after; sync")
    later = counts(linux)
    lab.do(lab.vm_snapshots.revert(vm, number))
    linux.follow()
    assert int(linux.run("counted")) < later
    linux.run("echo 3 >/proc/sys/vm/drop_caches")
    assert linux.run('echo "$token"; cat /data/note') == "before\nbefore the VM snapshot"
    assert b"before the VM snapshot" in lab.read_volume(f"one-img-{vm.disks[1]['IMAGE_ID']}")
    counts(linux)
    lab.do(lab.vm_snapshots.delete(vm, number))
