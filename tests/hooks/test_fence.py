"""A host that is lost loses its volumes for certain, or nobody is told so: by command, and by the hook."""

from __future__ import annotations

import json
import os
import shutil
from base64 import b64encode
from pathlib import Path

import pytest

from storpool_addon.cli.fence import check_user
from storpool_addon.errors import UsageError
from storpool_addon.lab import conductor
from storpool_addon.lab.command import Command, Result
from storpool_addon.lab.conductor import AFTER, BEFORE, KILL
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from tests import tool
from tests.second import Second
from tests.sweep import scene
from tests.tm import cloud
from tests.tm.test_together import held

COPY, OWN, RAW, ISO = "one-img-7-42-0", "one-img-8", "one-sys-42-2-raw", "one-sys-42-3-iso"
OURS = (COPY, OWN, RAW, ISO)
HOME = "/var/lib/one/.storpool-addon"
UNKNOWN = 16
VIRSH = """#!/bin/bash
cat "$(dirname "$0")/../guests"
"""


def fence(lab: Lab, *words: str) -> Result:
    return lab.run(tool.command(lab, "fence", *words))


def guests(lab: Lab, *names: str) -> None:
    """What libvirt says on every host."""
    stand_in = Path(lab.directory, "hostbin", "virsh")
    stand_in.write_text(VIRSH)
    stand_in.chmod(0o755)
    Path(lab.directory, "guests").write_text("".join(f"{each}\n" for each in names))


def history(lab: Lab) -> list[dict[str, object]]:
    """What was written down."""
    path = Path(lab.hosts.frontend.path(f"{HOME}/fence.log"))
    if not path.exists():
        return []
    assert path.stat().st_mode & 0o777 == 0o600
    return [json.loads(line) for line in path.read_text().splitlines()]


def hook(lab: Lab, name: str = "host_error", host: str = "node1") -> Command:
    """As OpenNebula's hook manager starts it: ARGUMENTS = "$TEMPLATE", ARGUMENTS_STDIN = "yes"."""
    document = lab.oned.host(host).document(lab.oned.vms_on(host))
    return Command(f"hooks/storpool/{name}", (), b64encode(document.encode()))


@pytest.fixture
def world(lab: Lab) -> Lab:
    """VM 42 on node1, another instance's volume there too, and VM 43 on node2."""
    lab.configure(FENCE_TIMEOUT=3, HOST_ERROR_WAIT=0, SP_API_DEADLINE=3, ATTACH_TIMEOUT=2)
    scene.machine(lab, lab.give_image(), lab.give_image(persistent=True), Volatile(8))
    vm = lab.vms.create(Volatile(4), context=False)
    lab.do(lab.vms.deploy(vm, "node2"))
    for name in ("two-img-3", "one-img-3-copy"):
        cloud.foreign(lab, name, {"nloc": "two"})
        cloud.attach(lab, name, "node1")
    return lab


def attached(lab: Lab) -> dict[str, set[str]]:
    return {name: set(hosts) for name, hosts in cloud.attached(lab).items() if hosts}


def test_only_oneds_user_can_mark_a_host(tmp_path: Path) -> None:
    """Marks in another home would be seen by nobody, and a VM start on two hosts."""
    home = tmp_path / "home"
    home.mkdir()
    check_user(str(tmp_path), str(home))
    with pytest.raises(UsageError, match="can fence a host"):
        check_user(str(tmp_path), str(tmp_path / "none"))
    other = Path("/")
    if os.geteuid() == 0:
        os.chown(other := tmp_path, 65534, -1)
    with pytest.raises(UsageError, match="can fence a host: sudo -H -u"):
        check_user(str(other), str(home))


def test_a_host_that_is_well_is_left_alone(world: Lab) -> None:
    guests(world, "one-42")
    before = cloud.picture(world)
    refused = fence(world, "node1")
    assert refused.exit_code == 1 and "host node1 is well: it answers" in refused.stderr
    world.oned.host("node1").state = 3
    assert "host node1 is well" in cloud.refused(world, hook(world))
    assert cloud.picture(world) == before and history(world) == []

    # Lost: a look changes nothing. What is not ours is named, and forbids it when a VM there uses it.
    world.hosts.nodes["node1"].power_off()
    looked = fence(world, "1", "--dry-run")
    assert looked.exit_code == 0 and "4 volumes would be detached" in looked.stdout
    assert "volume two-img-3 on client 11 of" in looked.stderr
    world.storpool(f"VolumeUpdate/{RAW}", {"tags": {"nloc": "two"}})
    refused = fence(world, "node1")
    assert refused.exit_code == 1 and f"{RAW} of VM 42" in refused.stderr
    world.storpool(f"VolumeUpdate/{RAW}", {"tags": {"nloc": "one"}})
    # Nor may the client be another host: VM 43 never was on this one.
    cloud.attach(world, "one-sys-43-0-raw", "node1", "node2")
    assert "has volumes of VM 43, which never was on host node1" in fence(world, "node1").stderr
    cloud.attach(world, "one-sys-43-0-raw", "node2")
    # A cluster that does not answer, a client that nobody knows, two hosts that claim to be one.
    elsewhere = {"SP_API_HTTP_HOST": "127.0.0.1", "SP_API_HTTP_PORT": "1", "SP_AUTH_TOKEN": "1"}
    world.oned.add_image_datastore(105, "dead", **elsewhere)
    assert "http://127.0.0.1:1 cannot confirm a fence" in fence(world, "node1").stderr
    del world.oned.datastores[105]
    world.oned.host("node2").client_id = 11
    assert "both have SP_OURID 11" in fence(world, "node1").stderr
    world.oned.host("node2").client_id = 12
    world.oned.host("node1").client_id = 12
    assert "client 11 by storpool.conf and 12" in fence(world, "node1").stderr
    world.oned.host("node1").client_id = 11
    assert cloud.picture(world) == before and history(world) == []


def test_a_lost_host_is_cut_off_and_its_vm_runs_elsewhere(world: Lab) -> None:
    guests(world)
    vm = world.oned.vms[42]
    vm.lcm_state, world.oned.host("node1").state = UNKNOWN, 2
    world.power_off("node1")
    # Not in ERROR any more: nothing is done.
    cloud.succeeds(world, hook(world))
    assert history(world) == [] and not vm.resched
    world.oned.host("node1").state = 3
    result = cloud.succeeds(world, hook(world))
    assert vm.resched and not world.oned.vms[43].resched
    assert attached(world) == {
        "two-img-3": {"node1"},
        "one-img-3-copy": {"node1"},
        "one-sys-43-0-raw": {"node2"},
    }
    calls = [call.what for call in result.calls]
    assert sum("VolumesReassignWait" in call for call in calls) == 1
    assert calls.index("one.host.update 1") < next(at for at, call in enumerate(calls) if "Reassign" in call)
    begun, confirmed = history(world)
    assert (begun["event"], confirmed["event"], begun["host"]) == ("begun", "confirmed", "node1")
    (client,) = confirmed["clients"]  # type: ignore[misc]
    assert set(client["volumes"]) == set(OURS) and client["proof"] == "down"
    assert world.oned.host("node1").attributes["SP_FENCED"].split()[1] == "by"

    # Nothing goes back there until it is lifted, whoever asks; and the VM runs on another host.
    world.do(world.vms.evacuate(vm, "node2"))
    back = next(world.vms.live_migrate(vm, "node1"))
    assert "host node1, which is fenced since" in cloud.refused(world, back)
    # Another front-end has no mark of its own; it sees what oned says, where it asks oned.
    shutil.rmtree(world.hosts.frontend.path(f"{HOME}/fences"))
    known = world.storpool_conf()
    world.hosts.frontend.write("/etc/storpool.conf", known.partition("[")[0], 0o640)
    assert "host node1, which is fenced since" in cloud.refused(world, back)
    world.hosts.frontend.write("/etc/storpool.conf", known, 0o640)
    vm.history.pop()
    vm.lcm_state = 3
    world.power_on("node1")
    again = fence(world, "node1")
    assert again.exit_code == 1 and "host node1 is well" in again.stderr
    guests(world, "one-42")
    assert "guests that lost their disks still run there (one-42)" in fence(world, "node1", "--lift").stderr
    guests(world)
    assert fence(world, "node1", "--lift").stdout == "host node1 may have volumes again\n"
    world.do(world.vms.live_migrate(vm, "node1"))
    assert {name for name, hosts in attached(world).items() if hosts == {"node1"}} >= set(OURS)
    assert [each["event"] for each in history(world)] == ["begun", "confirmed", "lifted"]


def test_what_is_not_confirmed_is_no_fence(world: Lab) -> None:
    """A client that is up and does not follow may still write; so may any, while StorPool does not say."""
    vm, simulator = world.oned.vms[42], world.simulator
    vm.lcm_state, world.oned.host("node1").state = UNKNOWN, 3
    world.hosts.nodes["node1"].power_off()
    simulator.set_client(11, "updating")
    line = cloud.fails(world, hook(world))
    assert "host node1 is fenced, not confirmed" in line and "its state is updating" in line
    assert history(world)[-1]["event"] == "unconfirmed" and not vm.resched
    assert not {*OURS} & {*attached(world)}

    # It comes back and follows; StorPool does not say so, then it does.
    simulator.set_client(11, "running")
    since = world.oned.host("node1").attributes["SP_FENCED"]
    simulator.faults.add([Fault(Verdict.error("busy"), "ClientsConfigDump", skip=2, times=0)])
    assert "not confirmed" in cloud.fails(world, hook(world)) and not vm.resched
    simulator.faults.set([])
    cloud.succeeds(world, hook(world, "fence_host"))
    assert history(world)[-1]["clients"][0]["proof"] == "applied"  # type: ignore[index]
    assert world.oned.host("node1").attributes["SP_FENCED"] == since and not vm.resched

    # VMs with disks of other drivers are left; those that are powered off, unless all are to move.
    vm.disks[0]["TM_MAD"] = "ceph"
    cloud.succeeds(world, hook(world))
    vm.disks[0]["TM_MAD"], vm.state, vm.lcm_state = "storpool", 8, 0
    cloud.succeeds(world, hook(world))
    assert not vm.resched
    world.configure(HOST_ERROR_VMS="all", HOST_ERROR_WAIT=0)
    cloud.succeeds(world, hook(world))
    assert vm.resched


def test_what_was_on_its_way_is_waited_for(world: Lab) -> None:
    """A migration to the host looked at its mark before that was set, and then stands at StorPool's door."""
    world.hosts.nodes["node1"].power_off()
    premigrate = next(world.vms.live_migrate(world.oned.vms[43], "node1"))
    with held(world, premigrate, "VolumesReassignWait", home="/var/lib/one") as end:
        early = fence(world, "node1")
        assert early.exit_code == 1 and "another action still attaches volumes" in early.stderr
        assert not {*OURS} & {*attached(world)}
        # It goes on, meets the dead host, and takes back what it did.
        assert end().exit_code == 1
    assert attached(world)["one-sys-43-0-raw"] == {"node2"}
    assert fence(world, "node1").exit_code == 0


def test_ended_anywhere_and_run_again(world: Lab) -> None:
    world.hosts.nodes["node1"].power_off()
    command, node = hook(world, "fence_host"), world.oned.host("node1")
    calls = [call.what for call in cloud.succeeds(world, command).calls]
    end = attached(world)
    changing = [at for at, call in enumerate(calls, 1) if "update" in call or "Reassign" in call]
    assert len(changing) == 2
    for at in changing:
        for when in (BEFORE, AFTER):
            for name in OURS:
                cloud.attach(world, name, "node1")
            node.attributes.clear()
            shutil.rmtree(world.hosts.frontend.path(f"{HOME}/fences"))
            assert world.run(command, conductor.Fault(at, when, KILL)).exit_code == -9
            # Whatever was taken from the host is known to be, and nothing comes back to it.
            taken = not {*OURS} <= {*attached(world)}
            assert taken == (at == changing[1] and when == AFTER)
            assert ("SP_FENCED" in node.attributes) == (at == changing[1] or when == AFTER)
            assert history(world)[-1]["event"] == "begun"
    cloud.succeeds(world, command)
    assert attached(world) == end and history(world)[-1]["event"] == "confirmed"


def test_a_client_of_two_clusters_is_cut_off_from_both(lab: Lab, tmp_path: Path) -> None:
    lab.configure(FENCE_TIMEOUT=3)
    with Second(lab, tmp_path, {"node1": 21, "node2": 22}) as second:
        # While nothing says what it is there: that cluster knows no client 11.
        looked = fence(lab, "node1", "--dry-run", "--json")
        assert [each["client"] for each in json.loads(looked.stdout)["clients"]] == [11]
        second.datastore.attributes.update(SP_CLUSTER_ID="d.m")
        for host in lab.oned.hosts.values():
            number = second.clients[host.name]
            host.attributes.update(SP_CLUSTER_ID="d.n", SP_OURID_D_M=str(number))
        vm = lab.vms.create(lab.give_image(), second.give_image(persistent=True), context=False)
        lab.do(lab.vms.deploy(vm, "node1"))
        assert second.attached()
        lab.power_off("node1")
        second.simulator.set_client(21, "updating")
        late = fence(lab, "node1", "--json")
        assert late.exit_code == 1 and "client 21 of" in late.stderr and "client 11 of" not in late.stderr
        assert (cloud.attached(lab), second.attached()) == ({}, {})
        told = json.loads(late.stdout)
        assert [each["proof"] for each in told["clients"]] == ["down", ""] and not told["confirmed"]
        second.simulator.set_client(21, "down")
        assert fence(lab, "node1").exit_code == 0
