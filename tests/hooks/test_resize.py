"""A VM asks for CPUs and memory in its user template, and oned gives them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from storpool_addon.lab import conductor
from storpool_addon.lab.lab import ENVIRONMENT, Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.resizing import HOTPLUG_RESIZE, RUNNING
from tests.hooks.calls import api_call
from tests.sweep import scene
from tests.tm import cloud

CALL = api_call("resize", "vm", 42)
VIRSH = """#!/bin/bash
[ "$3" != uri ] || exit 0
echo "${@:3}" >>/var/tmp/virsh
[ ! -e /var/tmp/refuses ] || { echo "error: Domain not found" >&2; exit 1; }
"""
# What the lab's hosts are told depends on the machine that they are on.
VERSION = 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1


@pytest.fixture
def vm(lab: Lab) -> Vm:
    """A VM that runs, with room to grow."""
    program = Path(lab.directory, "hostbin", "virsh")
    program.write_text(VIRSH)
    program.chmod(0o755)
    lab.configure(T_VCPU_MAX=8)
    found = scene.machine(lab, context=False)
    found.attributes.update(CPU="1", VCPU="2", MEMORY="1024")
    return found


def ask(vm: Vm, **attributes: str) -> None:
    """What a user writes with `onevm update`."""
    vm.user_attributes.pop("ERROR", None)
    vm.user_attributes.update({"T_MEMORY_MAX": "4096", "NOTE": "a \"b\" <c> \\ 'd'", **attributes})


def has(vm: Vm) -> tuple[object, ...]:
    """CPU, VCPU and MEMORY, and what waits of what was asked for."""
    waits = {
        key: text
        for key, text in vm.user_attributes.items()
        if key in ("T_VCPU_NEW", "T_MEMORY_NEW", "T_CPU_SHARES")
    }
    return *(vm.attributes[key] for key in ("CPU", "VCPU", "MEMORY")), waits


def says(vm: Vm) -> str:
    """What Sunstone shows as the VM's error."""
    return str(vm.user_attributes.get("ERROR", ""))


def resizes(lab: Lab) -> int:
    """How often oned was asked, in a run that has to succeed."""
    result = cloud.succeeds(lab, CALL)
    return sum(call.what.startswith("one.vm.resize") for call in result.calls)


def finish(lab: Lab, vm: Vm, *, success: bool = True) -> None:
    """The VM's driver is done."""
    assert vm.lcm_state == HOTPLUG_RESIZE
    lab.resizing.finish(vm, success=success)


def shares(lab: Lab) -> str:
    """What libvirt was last told."""
    return lab.hosts.nodes["node1"].run("tail -n 1 /var/tmp/virsh 2>/dev/null || :").stdout.strip()


def test_a_vm_that_runs_gets_what_it_asks_for(lab: Lab, vm: Vm) -> None:
    assert resizes(lab) == 0
    ask(vm, T_CPU_SHARES="7")
    assert resizes(lab) == 0 and has(vm) == ("1", "2", "1024", {"T_CPU_SHARES": "7"})
    ask(vm, T_VCPU_NEW="4", T_MEMORY_NEW="4096", T_CPU_SHARES="1.5")
    done = {"T_VCPU_NEW": "-", "T_MEMORY_NEW": "-", "T_CPU_SHARES": "-"}
    assert resizes(lab) == 1 and has(vm) == ("1.5", "4", "4096", done)
    assert vm.user_attributes["NOTE"] == "a \"b\" <c> \\ 'd'" and says(vm) == ""
    assert shares(lab) == f"schedinfo {vm.deploy_id} --live --set cpu_shares={(0, 1536, 150)[VERSION]}"
    assert resizes(lab) == 0
    finish(lab, vm)
    # What the driver could not do is taken back by oned, which says so itself.
    ask(vm, T_VCPU_NEW="2")
    assert resizes(lab) == 1
    finish(lab, vm, success=False)
    assert resizes(lab) == 0 and has(vm)[1] == "4"
    cloud.succeeds(lab, api_call("resize", "vm", 42, result=0))
    assert 'ARGUMENTS = "vm $API"' in cloud.fails(lab, api_call("resize", "image", 42), code=2)


def test_what_cannot_be_is_said_to_the_user_and_asked_no_more(lab: Lab, vm: Vm) -> None:
    for attributes, reason in (
        ({"T_VCPU_NEW": "9"}, "T_VCPU_MAX and VCPU_MAX let it grow to 8"),
        ({"T_VCPU_NEW": "0"}, "T_VCPU_NEW is '0'; a number above 0 is expected"),
        ({"T_VCPU_NEW": "4;reboot"}, "T_VCPU_NEW is '4;reboot'"),
        ({"T_VCPU_NEW": "4", "T_CPU_SHARES": "$(x)"}, "T_CPU_SHARES is '$(x)'"),
        ({"T_MEMORY_NEW": "4097"}, "T_MEMORY_MAX and MEMORY_MAX let it grow to 4096"),
        ({"T_MEMORY_NEW": "2048", "T_MEMORY_MAX": ""}, "neither T_MEMORY_MAX nor MEMORY_MAX lets it grow"),
        ({"T_VCPU_NEW": "3", "T_VCPU_MAX": "many"}, "T_VCPU_MAX is 'many'"),
        ({"T_MEMORY_NEW": "2048"}, "reached for MEMORY quota"),
    ):
        ask(vm, **attributes)
        lab.resizing.most_memory = 2000
        assert reason in cloud.fails(lab, CALL) and reason in says(vm), attributes
        assert set(has(vm)[3].values()) == {"-"} and has(vm)[:3] == ("1", "2", "1024"), attributes
        vm.user_attributes.clear()
    vm.state, vm.lcm_state = 5, 0
    ask(vm, T_VCPU_NEW="4")
    assert "Cannot resize a VM in state" in cloud.fails(lab, CALL) and "Cannot resize" in says(vm)
    vm.state = 8
    ask(vm, T_VCPU_NEW="1")
    assert resizes(lab) == 1 and has(vm)[1] == "1" and vm.lcm_state == 0
    vm.state, vm.lcm_state = 3, RUNNING
    lab.hosts.nodes["node1"].write("/var/tmp/refuses", "")
    ask(vm, T_VCPU_NEW="2", T_CPU_SHARES="300")
    assert "Domain not found" in cloud.fails(lab, CALL) and "Domain not found" in says(vm)
    assert has(vm)[:2] == ("300", "2")
    assert shares(lab) == f"schedinfo {vm.deploy_id} --live --set cpu_shares={(0, 262144, 10000)[VERSION]}"


def test_lost_answers_and_deaths_at_every_call(lab: Lab, vm: Vm) -> None:
    ask(vm, T_VCPU_NEW="4", T_CPU_SHARES="2")
    done = ("2", "4", "1024", {"T_VCPU_NEW": "-", "T_CPU_SHARES": "-"})
    calls = [call.what.partition(" ")[0] for call in cloud.succeeds(lab, CALL).calls]
    looks = "one.vm.info"
    assert calls == [looks, looks, "one.vm.resize", "node1", looks, "one.vm.update"] and has(vm) == done
    for number, call in enumerate(calls, 1):
        for how in ("kill",) if call == looks else ("kill", "fail"):
            vm.lcm_state = RUNNING
            vm.attributes.update(CPU="1", VCPU="2")
            ask(vm, T_VCPU_NEW="4", T_CPU_SHARES="2")
            fault = conductor.Fault(number, "after", how)
            assert (lab.run(CALL, fault).exit_code == 0) == (how == "fail"), fault
            if how == "kill":
                cloud.succeeds(lab, CALL)
            assert has(vm) == done and says(vm) == "", fault


def test_two_requests_at_a_time(lab: Lab, vm: Vm) -> None:
    ask(vm, T_VCPU_NEW="4")
    assert resizes(lab) == 1 and vm.lcm_state == HOTPLUG_RESIZE
    ask(vm, T_VCPU_NEW="6")
    command = lab.hosts.action_argv(CALL.argv, ENVIRONMENT, "/var/lib/one")
    running = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2)]
    for each in running:
        assert each.stdin is not None
        each.stdin.write(CALL.stdin)
        each.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        running[0].wait(1.0)
    assert has(vm)[1] == "4"
    finish(lab, vm)
    assert [each.wait(20) for each in running] == [0, 0]
    assert has(vm) == ("1", "6", "1024", {"T_VCPU_NEW": "-"}) and says(vm) == ""
