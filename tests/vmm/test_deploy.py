"""deploy-tweaks: what a VM's user asked for, or no VM; and one domain, however often it is started."""

from __future__ import annotations

import base64
import os

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.hypervisor import Hypervisor

UUID = "0b3dd5c5-7a2e-45ea-a4a3-a7e1a6e6a5a0"
TWEAKS = "/var/lib/one/remotes/vmm/kvm/deploy-tweaks.d"
FILE = "/var/lib/one/vms/42/deployment.0"
ADDS = """#!/bin/sh
grep -q '<VM><ID>42</ID>' "$2" && [ -n "$T_DISKSERIAL" ] && [ -n "$SHUTDOWN_TIMEOUT" ] || exit 3
[ -z "$SP_AUTH_TOKEN" ] || exit 4
sed -i "s|</devices>|<!-- ${0##*/} --></devices>|" "$1"
"""


def domain(time: int = 1769001000) -> bytes:
    disk = "<disk type='file' device='disk'><source file='/x/102/42/disk.7'/><target dev='vdb'/></disk>"
    disk += f"<disk type='file' device='disk'><source file='{cloud.HOME}/disk.0'/><target dev='vda'/></disk>"
    metadata = "<one:vm xmlns:one='http://opennebula.org/xmlns/libvirt/1.0'>"
    metadata += f"<one:deployment_time>{time}</one:deployment_time></one:vm>"
    return (
        f"<domain type='kvm'><name>one-42</name><uuid>{UUID}</uuid><vcpu>2</vcpu>"
        f"<cputune><shares>512</shares></cputune><devices>{disk}</devices><metadata>{metadata}</metadata></domain>"
    ).encode()


def deploy(document: bytes = domain(), file: str = FILE) -> Command:
    return Command("vmm/kvm/deploy-tweaks", (file, "node1", "42", "node1"), base64.b64encode(document))


def tweak(lab: Lab, name: str, text: str = "", mode: int = 0o755) -> None:
    lab.hosts.frontend.write(f"{TWEAKS}/{name}", text, mode)


def started(lab: Lab, command: Command) -> None:
    result = lab.run(command)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{UUID}\n", ""), result


def running(lab: Lab, vm: Vm) -> Hypervisor:
    vm.disks[0].update(TM_MAD="storpool", TYPE="fs")
    lab.hosts.frontend.write("/var/lib/one/remotes/etc/vmm/kvm/kvmrc", "export SHUTDOWN_TIMEOUT=180\n")
    return Hypervisor(lab)


def test_a_vm_starts_as_its_user_asked(lab: Lab) -> None:
    vm = scene.machine(lab, lab.give_image())
    hypervisor = running(lab, vm)
    vm.here.system.attributes["SP_AUTH_TOKEN"] = "in-the-clear"
    lab.configure(DEPLOY_TWEAKS="cpuShares")
    tweak(lab, "c-own.sh", ADDS)
    tweak(lab, "x-own.sh", ADDS)
    tweak(lab, "cpu.py", mode=0o644)
    for _ in range(2):
        started(lab, deploy())
        xml = hypervisor.read("node1", "domain")
        # volatile2dev of deploy-tweaks.d, two programs and one of the list.
        assert f'<disk type="block" device="disk"><source dev="{cloud.HOME}/disk.0"/>' in xml
        # A disk of another driver: OpenNebula's deploy looks for it as oned has written it.
        assert "<source file='/x/102/42/disk.7'/>" in xml
        assert "c-own.sh" in xml and "x-own.sh" in xml and "<shares>103</shares>" in xml, xml
    (words,) = hypervisor.scripts("node1")
    assert words == f"deploy {cloud.HOME}/deployment.0 node1 42 node1"
    there = cloud.files(lab, "node1")
    assert there["vm.xml"].decode() == vm.document(lab.oned.version)
    assert b"<DATASTORE><ID>100</ID>" in there["ds.xml"] and b"in-the-clear" not in there["ds.xml"]

    # The domain of another start is nobody's answer.
    line = cloud.fails(lab, deploy(domain(1769001001)))
    assert "domain one-42 runs there already, from another start" in line

    # Without standard input the file says it, as with the bash addon.
    hypervisor.ends("node1")
    lab.hosts.frontend.write(FILE, domain())
    started(lab, deploy(b""))
    assert "is empty" not in cloud.fails(lab, deploy(b"", "/var/lib/one/vms/42/deployment.9"), code=2)
    hypervisor.ends("node1")
    hypervisor.goes_wrong("node1", "create")
    line = cloud.fails(lab, deploy())
    assert line.startswith("starting domain one-42 on host node1 failed (exit code 1): ")
    assert line.endswith(": error: create was told to fail Could not do it")


def test_no_vm_without_what_its_user_asked_for(lab: Lab) -> None:
    vm = scene.machine(lab, lab.give_image())
    hypervisor = running(lab, vm)
    tweak(lab, "cpu.py")
    vm.user_attributes["T_CPU_MODE"] = "banana"
    line = cloud.fails(lab, deploy())
    assert line.startswith("tweak cpu: VM 42: T_CPU_MODE is 'banana'; allowed: ")
    del vm.user_attributes["T_CPU_MODE"]
    for text, words in (
        ("#!/bin/sh\necho 'no such PCI device' >&2; exit 7\n", "no such PCI device (exit code 7)"),
        ("#!/bin/sh\necho nonsense >$1\n", "is not XML"),
        ("#!/bin/sh\nrm $1\n", "No such file"),
    ):
        tweak(lab, "own", text)
        line = cloud.fails(lab, deploy())
        assert line.startswith("tweak own: ") and words in line
    os.unlink(lab.hosts.frontend.path(f"{TWEAKS}/own"))
    lab.configure(DEPLOY_TWEAKS="cpu mine")
    assert "no tweak is named 'mine'" in cloud.fails(lab, deploy())
    lab.configure()
    assert "holds a VM and no domain" in cloud.fails(lab, deploy(b"<VM/>"), code=2)
    assert hypervisor.read("node1", "domain") == "" and hypervisor.scripts("node1") == []
    assert "vm.xml" not in cloud.files(lab, "node1")
    lab.rpc.close()
    assert "oned" in cloud.fails(lab, deploy())
