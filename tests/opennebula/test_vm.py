from __future__ import annotations

import base64

import pytest

from storpool_addon.errors import StateError, UsageError
from storpool_addon.opennebula.states import LcmState, VmState
from storpool_addon.opennebula.vm import Disk, Vm
from tests.opennebula.documents import disk, document, vm


def running() -> Vm:
    return Vm.parse(document("vm_running.xml"))


def only_disk(**attributes: object) -> Disk:
    return Vm.parse(vm(disk(0, **attributes))).disk(0)


def test_the_vm_itself() -> None:
    found = running()
    assert (found.id, found.uid, found.gid, found.name) == (42, 2, 1, "web-42")
    assert found.state is VmState.ACTIVE
    assert found.lcm_state is LcmState.RUNNING
    assert found.deploy_id == "0b3dd5c5-7a2e-45ea-a4a3-a7e1a6e6a5a0"
    assert found.context_disk_id == 5
    assert found.has_tpm
    assert found.memory_mib == 4096
    assert found.attribute("VC_POLICY") == "gold"
    assert found.attribute("SP_QOSCLASS") == ""
    assert found.template["TM_MAD_SYSTEM"] == "storpool"
    assert found.context["ETH0_IP"] == "10.1.0.42"
    assert found.backup["FS_FREEZE"] == "AGENT"
    assert found.vm_snapshots == ()


def test_disks() -> None:
    found = running()
    assert [each.disk_id for each in found.disks] == [0, 1, 2, 3, 4]
    clone, persistent, cdrom, volatile, swap = found.disks
    assert (clone.clone, clone.image_id, clone.source) == (True, 7, "one-ds-101/one-img-7")
    assert (clone.size_mib, clone.original_size_mib) == (20480, 10240)
    assert (clone.datastore_id, clone.cluster_id, clone.tm_mad, clone.tm_mad_system) == (
        101,
        0,
        "storpool",
        "",
    )
    assert (clone.type, clone.disk_type, clone.format, clone.driver) == ("BLOCK", "BLOCK", "raw", "raw")
    assert (clone.target, clone.dev_prefix, clone.save, clone.readonly) == ("vda", "vd", False, False)
    assert clone.attribute("SP_TEMPLATE") == "hybrid"
    assert (persistent.clone, persistent.save, persistent.persistent) == (False, True, True)
    assert (cdrom.clone, cdrom.readonly, cdrom.type) == (False, True, "CDROM")
    assert (volatile.clone, volatile.image_id, volatile.source, volatile.type) == (None, None, "", "FS")
    assert (volatile.size_mib, volatile.original_size_mib, volatile.datastore_id) == (8192, 0, 100)
    assert swap.type == "SWAP"


@pytest.mark.parametrize(
    ("disk_id", "true"),
    [
        (0, ()),
        (1, ("is_persistent",)),
        (2, ("is_cdrom", "is_immutable")),
        (3, ("is_volatile",)),
        (4, ("is_volatile", "is_swap")),
    ],
)
def test_what_a_disk_is(disk_id: int, true: tuple[str, ...]) -> None:
    names = ("is_volatile", "is_swap", "is_cdrom", "is_persistent", "is_immutable")
    found = running().disk(disk_id)
    assert tuple(name for name in names if getattr(found, name)) == true


def test_history_and_snapshots() -> None:
    found = running()
    assert [(each.seq, each.hostname, each.hid, each.ds_id) for each in found.history] == [
        (0, "node2", 2, 100),
        (1, "node1", 1, 100),
    ]
    assert (found.last.hostname, found.last.tm_mad, found.last.vm_mad) == ("node1", "storpool", "kvm")
    assert [each.id for each in found.snapshots_of(0)] == [0]
    first, second = found.snapshots_of(1)
    assert (first.name, first.parent, first.size_mib, first.active) == ("before-upgrade", -1, 51200, False)
    assert (second.id, second.name, second.date, second.active) == (1, "nightly", 1769000200, True)
    assert found.snapshots_of(7) == ()


@pytest.mark.parametrize(
    ("name", "lcm_state", "histories", "hostname"),
    [
        ("vm_running.xml", LcmState.RUNNING, 2, "node1"),
        ("vm_disk_snapshot_poweroff.xml", LcmState.DISK_SNAPSHOT_POWEROFF, 2, "node1"),
        ("vm_bk_live.xml", LcmState.BACKUP, 1, "node1"),
        ("vmm_attach_disk.xml", LcmState.HOTPLUG, 1, "node1"),
        ("vmm_backup.xml", LcmState.BACKUP, 1, "node1"),
        ("vmm_disk_snapshot_create.xml", LcmState.DISK_SNAPSHOT, 1, "node1"),
        ("vmm_migrate.xml", LcmState.MIGRATE, 1, "node3"),
        ("vmm_resize_disk.xml", LcmState.DISK_RESIZE, 1, "node1"),
        ("vmm_restore.xml", LcmState.BOOT, 1, "node1"),
        ("vmm_save.xml", LcmState.SAVE_SUSPEND, 1, "node1"),
        ("vmm_snapshot_create.xml", LcmState.HOTPLUG_SNAPSHOT, 1, "node1"),
    ],
)
def test_every_document_gives_the_same_kind_of_vm(
    name: str, lcm_state: LcmState, histories: int, hostname: str
) -> None:
    """The last history record is where the VM is, and during a live migration already where it goes."""
    found = Vm.parse(document(name))
    assert found.id == 42
    assert found.lcm_state is lcm_state
    assert found.last == running().last._replace(hostname=hostname)
    assert len(found.history) == histories
    assert found.disk(1) == running().disk(1)._replace(attributes=found.disk(1).attributes)
    assert Vm.parse(base64.b64encode(document(name))) == found


def test_marks_that_oned_sets_on_disks() -> None:
    attached = Vm.parse(document("vmm_attach_disk.xml"))
    assert [each.disk_id for each in attached.disks if each.flagged("ATTACH")] == [6]
    assert attached.disk(6).tm_mad_system == "storpool"
    resized = Vm.parse(document("vmm_resize_disk.xml")).disk(0)
    assert resized.flagged("RESIZE")
    assert (resized.size_mib, resized.attribute("SIZE_PREV")) == (30720, "20480")
    snapshot = Vm.parse(document("vm_disk_snapshot_poweroff.xml")).disk(1)
    assert snapshot.flagged("DISK_SNAPSHOT_ACTIVE")
    assert snapshot.attribute("DISK_SNAPSHOT_ID") == "2"
    assert not snapshot.flagged("ATTACH")


def test_vm_snapshot_that_is_being_taken() -> None:
    (snapshot,) = Vm.parse(document("vmm_snapshot_create.xml")).vm_snapshots
    assert (snapshot.id, snapshot.hypervisor_id, snapshot.name, snapshot.active) == (
        0,
        "",
        "snapshot-0",
        True,
    )


def test_incremental_backup() -> None:
    backup = Vm.parse(document("vm_bk_live.xml")).backup
    assert (backup["MODE"], backup["LAST_INCREMENT_ID"], backup["LAST_BRIDGE"]) == ("INCREMENT", "2", "node2")


def test_vm_that_was_never_deployed() -> None:
    found = Vm.parse(vm(rest="<HISTORY_RECORDS/>", state=1, lcm_state=0))
    assert (found.history, found.disks, found.context_disk_id, found.has_tpm) == ((), (), None, False)
    with pytest.raises(StateError, match="VM 42 was never deployed"):
        _ = found.last


@pytest.mark.parametrize("number", [55, 72, 999])
def test_state_that_a_newer_opennebula_added(number: int) -> None:
    found = Vm.parse(vm(state=77, lcm_state=number))
    assert (found.state, found.lcm_state) == (77, number)


def test_holes_in_disk_ids_and_more_disks_than_letters() -> None:
    found = Vm.parse(vm("".join(disk(each, TARGET=f"vd{each}", SIZE=1) for each in range(0, 90, 3))))
    assert len(found.disks) == 30
    assert found.disk(87).disk_id == 87
    with pytest.raises(StateError, match="VM 42 has no disk 1; its disks are: 0, 3, 6"):
        found.disk(1)


def test_vm_without_disks_says_so() -> None:
    with pytest.raises(StateError, match="VM 42 has no disk 0; its disks are: none"):
        Vm.parse(vm()).disk(0)


def test_block_cdrom_is_a_cdrom() -> None:
    assert only_disk(TYPE="BLOCK_CDROM", CLONE="NO").is_cdrom


def test_missing_clone_is_volatile_and_not_persistent() -> None:
    found = only_disk(TYPE="fs", SIZE=10)
    assert found.is_volatile
    assert not found.is_persistent


def test_immutable_is_not_persistent() -> None:
    found = only_disk(IMAGE_ID=3, CLONE="NO", SAVE="NO", READONLY="YES", TYPE="BLOCK")
    assert found.is_immutable
    assert not found.is_persistent
    assert not only_disk(IMAGE_ID=3, CLONE="NO", SAVE="YES", READONLY="YES").is_immutable


def test_save_as_attributes() -> None:
    found = only_disk(
        HOTPLUG_SAVE_AS=14, HOTPLUG_SAVE_AS_ACTIVE="YES", HOTPLUG_SAVE_AS_SOURCE="one-ds-1/one-img-14"
    )
    assert found.flagged("HOTPLUG_SAVE_AS_ACTIVE")
    assert found.attribute("HOTPLUG_SAVE_AS_SOURCE") == "one-ds-1/one-img-14"


def test_user_attribute_with_newlines_and_unicode() -> None:
    rest = "<USER_TEMPLATE><NOTE><![CDATA[a\nb ]]]]><![CDATA[> é]]></NOTE></USER_TEMPLATE>"
    assert Vm.parse(vm(rest=rest)).attribute("NOTE") == "a\nb ]]> é"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"<IMAGE><ID>1</ID></IMAGE>", "standard input holds a IMAGE and no VM"),
        (b"<VM></VM>", "ID is missing"),
        (b"<VM><ID>x</ID></VM>", "ID is 'x'"),
        (vm(disk(0, SIZE=-5)), "disk 0 of VM 42: SIZE is '-5'"),
        (vm(disk(0, SIZE=2**63)), "disk 0 of VM 42: SIZE is '9223372036854775808'"),
        (vm("<DISK><SIZE>5</SIZE></DISK>"), "VM 42: DISK_ID is missing"),
        (vm(rest="<SNAPSHOTS><SNAPSHOT/></SNAPSHOTS>"), "VM 42: DISK_ID is missing"),
    ],
)
def test_error_names_the_object_and_the_element(given: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Vm.parse(given)
