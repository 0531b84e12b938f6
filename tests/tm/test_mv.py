"""mv: what each LCM state does to a disk and to the directory, and what no state may do."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.opennebula.states import LcmState
from storpool_addon.tm.plans import PLANS
from tests.sweep import scene
from tests.tm import cloud

COPY, CONTEXT = "one-img-7-42-0", "one-sys-42-1-iso"
ARRIVE = (
    "PROLOG_MIGRATE",
    "PROLOG_MIGRATE_POWEROFF",
    "PROLOG_MIGRATE_SUSPEND",
    "PROLOG_RESUME",
    "PROLOG_UNDEPLOY",
)
REST = ("EPILOG_STOP", "EPILOG_UNDEPLOY")
RESCUE = ("PROLOG_MIGRATE_UNKNOWN",)


def states(*names: str, twins: bool = True) -> list[int]:
    """The numbers of LCM states, and of those in which oned repeats what failed."""
    all_names = [*names, *(f"{name}_FAILURE" for name in names if twins)]
    return [int(LcmState[name]) for name in all_names]


def machine(lab: Lab, lcm: int, *, source: str = "node1") -> Vm:
    """A VM whose disk and context image are on node1, or idle, with a file of its own on the source host."""
    vm = scene.machine(lab, lab.give_image(content=b"hello"))
    vm.lcm_state = lcm
    if source == "frontend":
        cloud.attach(lab, COPY)
        cloud.attach(lab, CONTEXT)
        lab.hosts.nodes["node1"].run(f"rm -r {vm.home}")
    home = cloud.at(lab, source)
    home.write(f"{vm.home}/checkpoint", b"memory", 0o600)
    with open(home.path(f"{vm.home}/checkpoint"), "r+b") as file:
        file.seek(5 << 20)
        file.write(b"end")
    return vm


def test_the_table_is_that_of_this_test() -> None:
    assert {int(state) for state in PLANS} == set(states(*ARRIVE, *REST, *RESCUE))
    for state, plan in PLANS.items():
        assert plan is PLANS[LcmState[state.name.replace("_FAILURE", "")]]


@pytest.mark.parametrize("lcm", states(*ARRIVE, twins=False))
def test_a_disk_arrives(lab: Lab, lcm: int) -> None:
    vm = machine(lab, lcm)
    tags = cloud.tags(lab, COPY)
    result = cloud.succeeds(lab, cloud.mv(vm, "node1", "node2"), times=2)
    assert cloud.attached(lab, COPY) == {COPY: {"node2": "rw"}}
    assert cloud.links(lab, "node2") == {"disk.0": COPY}
    assert cloud.tags(lab, COPY) == tags
    assert cloud.kinds(result) == {"rpc": 2, "api": 2, "ssh": 1} and not cloud.asks_for_lists(result)


@pytest.mark.parametrize("lcm", states(*REST, twins=False))
def test_a_disk_leaves(lab: Lab, lcm: int) -> None:
    vm = machine(lab, lcm)
    cloud.succeeds(lab, cloud.mv(vm, "node1", "frontend"), times=2)
    assert cloud.attached(lab, COPY) == {COPY: {}}


@pytest.mark.parametrize("lcm", states(*RESCUE))
def test_a_disk_is_rescued_from_a_dead_host(lab: Lab, lcm: int) -> None:
    vm = machine(lab, lcm)
    lab.simulator.mark_open(11, COPY)
    lab.power_off("node1")
    cloud.succeeds(lab, cloud.mv(vm, "node1", "node2"), times=2)
    assert cloud.attached(lab, COPY) == {COPY: {"node2": "rw"}}
    assert cloud.links(lab, "node2") == {"disk.0": COPY}


@pytest.mark.parametrize("detach_down", ["ok", "force"])
def test_whatever_storpool_says_to_a_detach_from_a_dead_host(lab: Lab, detach_down: str) -> None:
    vm = machine(lab, 60)
    lab.power_off("node1")
    lab.simulator.switches = lab.simulator.switches._replace(detach_down=detach_down)
    cloud.succeeds(lab, cloud.mv(vm, "node1", "node2"))
    assert cloud.attached(lab, COPY) == {COPY: {"node2": "rw"}}


@pytest.mark.parametrize(("lcm", "disk_id"), [(8, 0), (31, 0), (43, None)])
def test_a_disk_in_use_is_not_moved(lab: Lab, lcm: int, disk_id: int | None) -> None:
    vm = machine(lab, lcm)
    name = COPY if disk_id == 0 else CONTEXT
    lab.simulator.mark_open(11, name)
    line = cloud.refused(lab, cloud.mv(vm, "node1", "node2", disk_id))
    assert f"'{name}' is open at client 11" in line


@pytest.mark.parametrize("lcm", [10, 60])
def test_a_disk_in_use_is_taken_where_the_guest_is_known_to_be_gone(lab: Lab, lcm: int) -> None:
    vm = machine(lab, lcm)
    for name in (COPY, CONTEXT):
        lab.simulator.mark_open(11, name)
    target = "frontend" if lcm in (10, 30) else "node2"
    for disk_id in (0, None):
        cloud.succeeds(lab, cloud.mv(vm, "node1", target, disk_id))
    expected = {} if lcm in (10, 30) else {"node2": "rw"}
    assert cloud.attached(lab, COPY, CONTEXT) == {COPY: expected, CONTEXT: expected}


@pytest.mark.parametrize(
    ("lcm", "source", "target"),
    [
        *((lcm, "node1", "node2") for lcm in (8, 43, 45)),
        *((lcm, "frontend", "node2") for lcm in (9, 31)),
        *((lcm, "node1", "frontend") for lcm in (10, 30)),
    ],
)
def test_the_directory_moves_with_its_files(lab: Lab, lcm: int, source: str, target: str) -> None:
    vm = machine(lab, lcm, source=source)
    before = cloud.files(lab, source)
    result = cloud.succeeds(lab, cloud.mv(vm, source, target, None), times=2)
    assert cloud.files(lab, target) == before
    assert not os.path.exists(cloud.at(lab, source).path(cloud.HOME))
    saved = os.stat(cloud.at(lab, target).path(f"{cloud.HOME}/checkpoint"))
    assert (saved.st_mode & 0o777, saved.st_blocks * 512 < saved.st_size) == (0o600, True)
    assert cloud.attached(lab, CONTEXT) == {CONTEXT: {} if target == "frontend" else {target: "rw"}}
    assert not cloud.asks_for_lists(result)


@pytest.mark.parametrize("lcm", states(*RESCUE))
def test_the_dead_host_is_not_asked_for_the_directory(lab: Lab, lcm: int) -> None:
    vm = machine(lab, lcm)
    lab.power_off("node1")
    result = cloud.succeeds(lab, cloud.mv(vm, "node1", "node2", None), times=2)
    assert cloud.attached(lab, CONTEXT) == {CONTEXT: {"node2": "rw"}}
    assert "ssh" not in cloud.kinds(result)


@pytest.mark.parametrize(
    ("settings", "lcm", "moved", "source_left"),
    [
        ({"SKIP_UNDEPLOY_SSH": 0}, 30, True, False),
        ({"SKIP_UNDEPLOY_SSH": 1, "CLEAN_SRC_ON_UNDEPLOY": 0}, 30, False, True),
        ({"SKIP_UNDEPLOY_SSH": 1, "CLEAN_SRC_ON_UNDEPLOY": 1}, 30, False, False),
        ({"SKIP_UNDEPLOY_SSH": 1, "CLEAN_SRC_ON_UNDEPLOY": 1}, 10, True, False),
        ({"SKIP_UNDEPLOY_SSH": 1, "SP_CHECKPOINT_BD": 1}, 10, True, False),
        ({"SKIP_UNDEPLOY_SSH": 1, "CLEAN_SRC_ON_UNDEPLOY": 1}, 43, True, False),
        ({"SP_SYSTEM": "shared"}, 43, False, True),
        ({"SP_SYSTEM": "shared"}, 30, False, True),
    ],
)
def test_where_the_site_wants_the_directory(
    lab: Lab, settings: dict[str, object], lcm: int, moved: bool, source_left: bool
) -> None:
    lab.configure(**settings)
    vm = machine(lab, lcm)
    target = "node2" if lcm == 43 else "frontend"
    cloud.succeeds(lab, cloud.mv(vm, "node1", target, None), times=2)
    assert ("checkpoint" in cloud.files(lab, target)) == moved
    assert ("checkpoint" in cloud.files(lab, "node1")) == source_left


def test_memory_that_is_on_a_volume_lets_the_directory_be_left_out(lab: Lab) -> None:
    lab.configure(SKIP_UNDEPLOY_SSH=1, SP_CHECKPOINT_BD=1)
    vm = machine(lab, 10)
    memory = "one-sys-42-rawcheckpoint"
    cloud.foreign(lab, memory, cloud.tags(lab, COPY))
    cloud.attach(lab, memory, "node1")
    cloud.succeeds(lab, cloud.mv(vm, "node1", "frontend", None), times=2)
    assert cloud.attached(lab, memory) == {memory: {}}
    assert cloud.files(lab, "frontend") == {} and cloud.files(lab, "node1") == {}


def test_to_another_system_datastore(lab: Lab) -> None:
    lab.oned.add_system_datastore(110, "other")
    vm = machine(lab, 43)
    target = "/var/lib/one/datastores/110/42"
    disk, home = cloud.mv(vm, "node1", "node2"), cloud.mv(vm, "node1", "node2", None)
    cloud.succeeds(lab, disk._replace(args=(disk.args[0], f"node2:{target}/disk.0", *disk.args[2:])))
    cloud.succeeds(lab, home._replace(args=(home.args[0], f"node2:{target}", "42", "110")), times=2)
    assert cloud.links(lab, "node2", target)["disk.0"] == COPY
    assert "checkpoint" in cloud.files(lab, "node2", target)
    assert cloud.files(lab, "node1") == {}


def test_within_a_host(lab: Lab) -> None:
    vm = machine(lab, 43)
    target = "/var/lib/one/datastores/110/42"
    lab.oned.add_system_datastore(110, "other")
    home = cloud.mv(vm, "node1", "node1", None)
    before = cloud.files(lab, "node1")
    cloud.succeeds(lab, home._replace(args=(home.args[0], f"node1:{target}", "42", "110")), times=2)
    assert cloud.files(lab, "node1", target) == before
    assert cloud.files(lab, "node1") == {}
    assert cloud.links(lab, "node1", target) == {"disk.0": COPY, "disk.1": CONTEXT}


def test_the_same_place_is_no_move(lab: Lab) -> None:
    vm = machine(lab, 43)
    before = cloud.picture(lab)
    for disk_id in (0, None):
        cloud.succeeds(lab, cloud.mv(vm, "node1", "node1", disk_id))
    assert not cloud.differences(before, cloud.picture(lab))


@pytest.mark.parametrize("lcm", [0, 3, 11, 99])
@pytest.mark.parametrize("disk_id", [0, None], ids=["disk", "directory"])
def test_other_states_move_nothing(lab: Lab, lcm: int, disk_id: int | None) -> None:
    vm = machine(lab, lcm)
    line = cloud.refused(lab, cloud.mv(vm, "node1", "node2", disk_id))
    assert f"VM 42 is in LCM state {lcm}" in line


def test_disks_of_every_kind(lab: Lab) -> None:
    vm = scene.machine(
        lab, lab.give_image(persistent=True), lab.give_image(type="CDROM"), Volatile(4), Volatile(4, "swap")
    )
    vm.lcm_state = 43
    names = ["one-img-7", "one-img-8-42-1", "one-sys-42-2-raw", "one-sys-42-3-swap"]
    for disk_id, name in enumerate(names):
        cloud.succeeds(lab, cloud.mv(vm, "node1", "node2", disk_id, 100 if disk_id > 1 else 101))
        assert cloud.attached(lab, name) == {name: {"node2": "rw"}}


def test_a_shared_directory_of_the_host_is_not_a_disk_of_ours(lab: Lab) -> None:
    """On resume oned asks the driver of the VM's directory to move virtiofs disks too (7.2 and later)."""
    vm = machine(lab, 31, source="frontend")
    vm.disks[0].update(TYPE="FILESYSTEM", TM_MAD="shared", SOURCE="/var/lib/one/datastores/105/tree")
    before = cloud.picture(lab)
    cloud.succeeds(lab, cloud.mv(vm, "frontend", "node2", 0, 100))
    assert not cloud.differences(before, cloud.picture(lab))


@pytest.mark.parametrize("trouble", ["foreign", "missing"])
def test_a_volume_that_is_not_ours_or_not_there(lab: Lab, trouble: str) -> None:
    vm = machine(lab, 43)
    if trouble == "foreign":
        lab.storpool(f"VolumeUpdate/{COPY}", {"tags": {"nloc": "two"}})
    else:
        cloud.attach(lab, COPY)
        lab.storpool(f"VolumeDelete/{COPY}", {})
    assert COPY in cloud.refused(lab, cloud.mv(vm, "node1", "node2"))


def test_a_source_that_cannot_be_reached(lab: Lab) -> None:
    """Its files are not known to be anywhere else: the move waits for the host, or for oned to give it up."""
    vm = machine(lab, 43)
    lab.hosts.nodes["node1"].power_off()
    assert "node1" in cloud.fails(lab, cloud.mv(vm, "node1", "node2", None))
    lab.hosts.nodes["node1"].power_on()
    cloud.succeeds(lab, cloud.mv(vm, "node1", "node2", None), times=2)
    assert "checkpoint" in cloud.files(lab, "node2")


@pytest.mark.parametrize("place", ["node2:/etc", "node2:/var/lib/one/datastores/100/43"])
def test_only_the_directory_of_this_vm_moves(lab: Lab, place: str) -> None:
    vm = machine(lab, 43)
    command = cloud.mv(vm, "node1", "node2", None)
    for args in ((command.args[0], place), (place, command.args[1])):
        assert place[6:] in cloud.refused(lab, command._replace(args=(*args, "42", "100")), code=2)
