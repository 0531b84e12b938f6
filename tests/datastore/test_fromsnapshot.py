"""Images made of snapshots: whole, of the right size, and only for those who may have the data."""

from __future__ import annotations

from storpool_addon.lab import objects
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests.datastore import scene
from tests.sweep import scene as furniture

OURS = {"virt": "one", "nloc": "one"}
MIB = 1 << 20
ONESNAP = "ONESNAP-3-1718000000"
DATA = b"as it was"


def snapshot(lab: Lab, volume: str, name: str, tags: dict[str, str]) -> None:
    """A snapshot of a volume that is there, with known data in it."""
    lab.storpool(f"VolumeSnapshot/{volume}", {"name": name, "tags": tags})


def machine(lab: Lab) -> Vm:
    """Alice's VM 42 with a disk of each form, and one VM snapshot: each part's data are its disk's name."""
    images = [
        lab.give_image(content=b"system"),
        lab.give_image(persistent=True),
        lab.give_image(type="CDROM"),
    ]
    vm = furniture.machine(lab, *images, Volatile(4), Volatile(4, "swap"))
    for name in furniture.volumes(lab, vm):
        furniture.attach(lab, [name])
        lab.write_volume(name, name.encode())
        snapshot(lab, name, f"{name}-{ONESNAP}", {**OURS, "nvm": str(vm.id)})
        lab.write_volume(name, b"later, and another")
    vm.attributes["SNAPSHOT"] = {"SNAPSHOT_ID": "3", "HYPERVISOR_ID": ONESNAP, "NAME": "s", "ACTIVE": "YES"}
    return vm


def prepare(lab: Lab, path: str, owner: tuple[int, int, str, str], size_mib: int = 4) -> Image:
    """An image of that user's that waits for `cp`."""
    image = scene.prepare(lab, path, size_mib)
    image.owner = owner
    return image


FORMS = (
    "one-img-7-42-0",
    "one-img-8",
    "one-img-9-42-2",
    "one-sys-42-3-raw",
    "one-sys-42-4-swap",
    "one-sys-42-5-iso",
)


def test_owner_gets_each_disk_as_it_was(lab: Lab) -> None:
    machine(lab)
    for disk_id, volume in enumerate(FORMS):
        image = prepare(lab, f"/home/alice/VM:42-VMSNAP:3-DISK:{disk_id}", objects.ALICE)
        for _ in range(1 + (disk_id == 0)):
            assert scene.answer(lab.run(scene.cp(lab, image))) == f"one-ds-101/one-img-{image.id} raw\n"
        (made,) = lab.storpool(f"Volume/one-img-{image.id}")
        assert (made["parentName"], made["size"]) == (f"{volume}-{ONESNAP}", 4 * MIB)
        assert {key: word for key, word in made["tags"].items() if word} == OURS
        assert made["templateName"] == "one-ds-101"
        assert lab.read_volume(made["name"], len(volume) + 1) == volume.encode() + b"\0"


def test_import_is_one_call_that_changes_something_and_asks_no_host(lab: Lab) -> None:
    machine(lab)
    lab.oned.datastores[101].attributes["BRIDGE_LIST"] = "node1"
    image = prepare(lab, "VM:42-VMSNAP:3-DISK:0", objects.ALICE)
    result = lab.run(scene.cp(lab, image))
    assert scene.answer(result)
    words = [call.what.split()[0] for call in result.calls if call.kind == "api"]
    assert words == ["Volume", "Snapshot", "VolumeCreate"]
    assert {call.kind for call in result.calls} == {"api", "rpc"}


def test_volume_is_as_large_as_the_larger_of_the_two(lab: Lab) -> None:
    machine(lab)
    for size_mib, wanted in ((2, 4), (16, 16)):
        image = prepare(lab, "VM:42-VMSNAP:3-DISK:0", objects.ALICE, size_mib)
        scene.answer(lab.run(scene.cp(lab, image)))
        assert lab.storpool(f"Volume/one-img-{image.id}")[0]["size"] == wanted * MIB


def test_size_is_rounded_up(lab: Lab) -> None:
    for size, size_mib in ((4 * MIB, 4), (4 * MIB + 512, 5), (512, 1)):
        lab.storpool("VolumeCreate", {"name": f"one-img-{size}", "size": size, "tags": OURS})
        snapshot(lab, f"one-img-{size}", f"before-{size}", OURS)
        steps = lab.images.create(lab.oned.datastores[101], path=f"/root/SPSNAPSHOT:before-{size}")
        assert scene.answer(lab.run(next(steps))) == f"{size_mib}\n"


def test_admin_imports_a_snapshot_by_its_name(lab: Lab) -> None:
    """One of ours, and one that the bash addon left without tags."""
    original = lab.give_image(content=DATA)
    for name, tags in (("ours", OURS), ("untagged", {})):
        snapshot(lab, f"one-img-{original.id}", name, tags)
        image = prepare(lab, f"/root/SPSNAPSHOT:{name}", objects.ONEADMIN)
        scene.answer(lab.run(scene.cp(lab, image)))
        scene.is_whole(lab, image, DATA, 4)


def test_snapshot_that_nobody_named_goes_by_its_global_id(lab: Lab) -> None:
    original = lab.give_image(content=DATA)
    made = lab.storpool(f"VolumeSnapshot/one-img-{original.id}", {"tags": OURS})
    image = prepare(lab, f"SPSNAPSHOT:~{made['snapshotGlobalId']}", objects.ONEADMIN)
    for _ in range(2):
        scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DATA, 4)


def test_finished_image_needs_its_snapshot_no_more(lab: Lab) -> None:
    original = lab.give_image(content=DATA)
    snapshot(lab, f"one-img-{original.id}", "s", OURS)
    image = prepare(lab, "SPSNAPSHOT:s", objects.ONEADMIN)
    scene.answer(lab.run(scene.cp(lab, image)))
    lab.storpool("SnapshotDelete/s", {})
    scene.answer(lab.run(scene.cp(lab, image)))
    scene.is_whole(lab, image, DATA, 4)


REFUSALS = (
    ("VM:42-VMSNAP:3-DISK:0", objects.BOB, "is not of the owner of VM 42"),
    ("SPSNAPSHOT:one-img-7-42-0-ONESNAP-3-1718000000", objects.ALICE, "only members of group oneadmin"),
    ("SPSNAPSHOT:nothing", objects.ONEADMIN, "snapshot nothing does not exist"),
    ("VM:42-VMSNAP:9-DISK:0", objects.ALICE, "VM 42 has no snapshot 9"),
    ("VM:42-VMSNAP:3-DISK:9", objects.ALICE, "VM 42 has no disk 9"),
    ("VM:77-VMSNAP:3-DISK:0", objects.ALICE, "one.vm.info(77)"),
    ("VM:43-VMSNAP:3-DISK:0", objects.ALICE, "is of VM 42, not of VM 43"),
    ("SPSNAPSHOT:theirs", objects.ONEADMIN, "snapshot theirs is not ours"),
    ("VM:43-VMSNAP:3-DISK:1", objects.ALICE, "is kept by ceph"),
    ("VM:42-VMSNAP:4-DISK:0", objects.ALICE, "or it is in another cluster"),
)


def test_nobody_gets_what_is_not_theirs(lab: Lab) -> None:
    """VM 43 claims to have VM 42's snapshot: oned's documents alone are not taken for the owner's word."""
    vm = machine(lab)
    snapshot(lab, "one-img-8", "theirs", {"virt": "one", "nloc": "two"})
    vm.attributes["SNAPSHOT"] = [
        {"SNAPSHOT_ID": "3", "HYPERVISOR_ID": ONESNAP},
        {"SNAPSHOT_ID": "4", "HYPERVISOR_ID": "ONESNAP-4-1"},
    ]
    other = lab.vms.create(context=False)
    furniture.settle(lab.vms.deploy(other, "node1"))
    persistent = vm.disks[1]
    other.disks = {0: {**persistent, "DISK_ID": "0"}, 1: {**persistent, "TM_MAD": "ceph"}}
    other.attributes["SNAPSHOT"] = vm.attributes["SNAPSHOT"]
    before = lab.storpool("VolumesList")
    for path, owner, error in REFUSALS:
        line = scene.fails(lab, scene.cp(lab, prepare(lab, path, owner)))
        assert error in line, line
    assert lab.storpool("VolumesList") == before


def test_size_of_what_is_not_there_is_no_number(lab: Lab) -> None:
    steps = lab.images.create(lab.oned.datastores[101], path="SPSNAPSHOT:nothing")
    assert "snapshot nothing does not exist" in scene.fails(lab, next(steps))


def test_volume_of_that_name_that_is_something_else_stays(lab: Lab) -> None:
    machine(lab)
    image = prepare(lab, "VM:42-VMSNAP:3-DISK:0", objects.ALICE)
    lab.storpool("VolumeCreate", {"name": f"one-img-{image.id}", "size": MIB, "tags": {"nloc": "two"}})
    assert "is not ours" in scene.fails(lab, scene.cp(lab, image))
    assert lab.storpool(f"Volume/one-img-{image.id}")[0]["size"] == MIB
