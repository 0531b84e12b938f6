"""The lab as a whole, with the driver as it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from storpool_addon.lab.command import Command, StepFailed
from storpool_addon.lab.conductor import BEFORE, KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from tests.programs import needs
from tests.tm import cloud

NOTES = "/var/lib/one/datastores"


def script(lab: Lab, path: str, body: str) -> Command:
    """A script of the test's own among the remotes, ready to run."""
    lab.hosts.frontend.write(f"/var/lib/one/remotes/{path}", f"#!/bin/bash\n{body}\n", 0o755)
    return Command(path, ("a b", "c"), b"input")


def test_a_script_runs_as_oned_runs_it(lab: Lab) -> None:
    command = script(
        lab, "tm/own/try", 'echo "$0|$1|$2|$#"; pwd; hostname; cat; env | grep -c SP_; id -u >&2'
    )
    result = lab.run(command)
    assert result.stdout == "/var/lib/one/remotes/tm/own/try|a b|c|2\n/var/lib/one\nfrontend\ninput0\n"
    assert result.exit_code == 0
    assert result.stderr == "0\n"


@needs("qemu-img")
def test_calls_of_all_kinds_are_in_one_sequence(lab: Lab) -> None:
    port = lab.simulator.endpoint.port
    body = f"""
    exec 3<>/dev/tcp/127.0.0.1/{port}
    printf 'GET /ctrl/1.0/ServicesList HTTP/1.0\\r\\n' >&3
    printf 'Authorization: Storpool v1:{lab.simulator.token}\\r\\n\\r\\n' >&3
    cat <&3 >/dev/null
    ssh -- node1 'ssh node2 true'
    qemu-img --version >/dev/null
    setpriv --pdeathsig TERM -- ls / >/dev/null
    setpriv -- env A=b timeout 5 ssh -- node2 true
    :"""
    result = lab.run(script(lab, "tm/own/try", body))
    assert [f"{call.kind} {call.what}" for call in result.calls] == [
        "api ServicesList",
        "ssh node1",
        "child qemu-img",
        "child ls",
        "ssh node2",
    ]


@pytest.mark.parametrize(
    ("number", "when", "wanted"),
    [
        (1, "before", ("255 0 0", ["two"])),
        (1, "after", ("255 0 0", ["one", "two"])),
        (2, "before", ("0 1 0", ["one"])),
        (2, "after", ("0 1 0", ["one", "two"])),
        (3, "before", ("0 0 1", ["one", "two"])),
    ],
)
def test_a_fault_strikes_before_or_after_the_work(
    lab: Lab, number: int, when: str, wanted: tuple[str, list[str]]
) -> None:
    for host in (lab.hosts.frontend, lab.hosts.nodes["node1"]):
        host.write(f"{NOTES}/x", "x")
    body = f"""
    ssh -- node1 mkdir {NOTES}/one; a=$?
    dd if={NOTES}/x of={NOTES}/two status=none; b=$?
    setpriv -- test {number} != 3; c=$?
    echo $a $b $c"""
    result = lab.run(script(lab, "tm/own/try", body), Fault(number, when))
    done = [host.run(f"ls {NOTES}").stdout.split() for host in (lab.hosts.nodes["node1"], lab.hosts.frontend)]
    assert (result.stdout.strip(), sorted({*done[0], *done[1]} - {"x"})) == wanted


def test_a_kill_ends_the_action_and_not_the_lab(lab: Lab) -> None:
    command = script(lab, "tm/own/try", "echo before; ssh -- node1 touch /var/lib/one/x; echo after")
    result = lab.run(command, Fault(1, BEFORE, KILL))
    assert (result.exit_code, result.stdout) == (-9, "before\n")
    assert lab.run(command).exit_code == 0


def test_a_failed_script_stops_the_verb(lab: Lab) -> None:
    vm = lab.vms.create(lab.give_image(), Volatile(4))
    lab.hosts.nodes["node1"].power_off()
    with pytest.raises(StepFailed, match="node1"):
        lab.do(lab.vms.deploy(vm, "node1"))
    assert vm.lcm_state == 39


@needs("xorriso")
def test_from_deployment_to_nothing(lab: Lab) -> None:
    """What a VM brought into the world leaves it again; that the driver says so is tested elsewhere."""
    vm = lab.vms.create(lab.give_image(content=b"hello"), Volatile(4, "swap"))
    seen: list[str] = []
    lab.do(lab.vms.deploy(vm, "node1"), lambda command, result: seen.append(command.name))
    assert seen == ["clone", "mkswap", "context"]
    volume = f"one-img-{vm.disks[0]['IMAGE_ID']}-{vm.id}-0"
    assert lab.hosts.nodes["node1"].link(f"{vm.home}/disk.0") == f"/dev/storpool/{volume}"
    assert Path(lab.hosts.nodes["node1"].device(volume)).read_bytes()[:5] == b"hello"
    lab.do(lab.vms.terminate(vm))
    assert cloud.volumes(lab) == {"one-img-7"}
    assert cloud.attached(lab) == {}
    for node in lab.hosts.nodes.values():
        assert not list(Path(node.path("/var/lib/one")).rglob("disk.*"))


def test_a_verb_can_be_stopped_before_one_script(lab: Lab) -> None:
    vm = lab.vms.create(lab.give_image(), Volatile(4, "swap"))
    command = lab.until(lab.vms.deploy(vm, "node1"), "mkswap")
    assert command.args[:2] == ("4", f"node1:{vm.home}/disk.1")
    assert set(cloud.attached(lab)) == {"one-img-7-42-0"}
    with pytest.raises(LookupError):
        lab.until(lab.vms.terminate(vm), "cpds")


def test_configuration_is_what_the_driver_reads(lab: Lab) -> None:
    lab.configure(ONE_PX="other")
    vm = lab.vms.create(lab.give_image(), Volatile(4))
    lab.storpool("VolumeTemplateCreate", {"name": "other-ds-100"})
    lab.run(lab.until(lab.vms.deploy(vm, "node1"), "mkimage"))
    assert "other-sys-42-1-raw" in cloud.volumes(lab)
