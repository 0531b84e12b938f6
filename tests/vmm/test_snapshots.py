"""Snapshots of a whole VM: all of it or nothing, once for each request, and exactly that one goes."""

from __future__ import annotations

import os

from storpool_addon.lab.command import Command, Steps
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.guest import Guest

ID = "ONESNAP-0-1769009100"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42"}
SUDO = '#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n'
# Where libvirt would keep the state of a TPM.
STATE = "/var/tmp/tpm"
VTPM_SETUP = f"""#!/bin/bash
mkdir -p "$3/tpm"
if [ "$1" = backup ]; then cp {STATE} "$3/tpm/tpm2-00.permall"; else cp "$3/tpm/tpm2-00.permall" {STATE}; fi
"""
COPY, OWN_IMAGE, CDROM, RAW = "one-img-7-42-0", "one-img-8", "one-img-9-42-2", "one-sys-42-3-raw"
CONTEXT, NVRAM, TPM = "one-sys-42-4-iso", "one-sys-42-NVRAM", "one-sys-42-SWTPM"
EVERYTHING = (COPY, OWN_IMAGE, CDROM, RAW, CONTEXT, NVRAM, TPM)


def machine(lab: Lab) -> Vm:
    """A VM that runs, with a disk of every kind, UEFI variables and a virtual TPM."""
    images = (lab.give_image(content=b"first"), lab.give_image(persistent=True), lab.give_image(type="CDROM"))
    vm = scene.machine(lab, *images, Volatile(4))
    vm.attributes["TPM"] = {"MODEL": "tpm-crb"}
    vm.user_attributes["T_OS_NVRAM"] = "storpool:template=OVMF_VARS.fd"
    scene.volume(lab, NVRAM, {**TAGS, "type": "NVRAM"})
    scene.attach(lab, [NVRAM], "node1")
    with open(os.path.join(lab.directory, "hostbin", "sudo"), "w") as file:
        file.write(SUDO)
        os.fchmod(file.fileno(), 0o755)
    lab.hosts.nodes["node1"].write("/var/tmp/one/vtpm_setup", VTPM_SETUP, 0o755)
    lab.hosts.nodes["node1"].write(STATE, "first\n")
    return vm


def simple(lab: Lab) -> Vm:
    """A VM that runs and has one disk."""
    return scene.machine(lab, lab.give_image(content=b"first"), context=False)


def parts(lab: Lab) -> set[str]:
    """What there is of VM snapshots."""
    return {name for name in cloud.snapshots(lab) if "-ONESNAP-" in name}


def of(*volumes: str, hypervisor_id: str = ID) -> set[str]:
    return {f"{volume}-{hypervisor_id}" for volume in volumes}


def command(steps: Steps[object]) -> Command:
    return next(steps)


def test_all_of_a_vm_at_one_moment(lab: Lab) -> None:
    """D-6: the context image, the UEFI variables and the state of the TPM too; a repeat adds nothing."""
    lab.configure(VMSNAPSHOT_FSFREEZE=1)
    vm = machine(lab)
    guest = Guest(lab, vm)
    asked = command(lab.vm_snapshots.create(vm))
    first, again = lab.run(asked), lab.run(asked)
    assert first.exit_code == again.exit_code == 0 and first.stdout == again.stdout == f"{ID}\n", first
    assert parts(lab) == of(*EVERYTHING)
    tags = [each["tags"] for name, each in cloud.snapshots(lab).items() if "ONESNAP" in name]
    assert tags == [{**TAGS, "vmsnap": "7"}] * 7
    groups = [call for call in first.calls if "VolumesGroupSnapshot" in call.what]
    assert len(groups) == 1 and not cloud.asks_for_lists(first)
    assert guest.words == ["domfsfreeze", "domfsthaw"], "the repeat leaves the guest alone"
    assert lab.read_volume(TPM, 2) == b"\x1f\x8b", "the state of a guest that runs was saved first"
    nothing_outlives_the_vm(lab, vm)


def nothing_outlives_the_vm(lab: Lab, vm: Vm) -> None:
    """Not on a persistent image that stays, and not the memory that a killed action may have left."""
    vm.snapshots[0]["HYPERVISOR_ID"] = ID
    memory = "one-sys-42"
    scene.volume(lab, memory, TAGS)
    lab.storpool(f"VolumeSnapshot/{memory}", {"name": f"{memory}-{ID}", "tags": TAGS})
    lab.do(lab.vms.terminate(vm))
    assert parts(lab) == set() and not {memory, *EVERYTHING} & cloud.volumes(lab) - {OWN_IMAGE}


def test_a_vm_with_a_disk_that_cannot_be_snapshotted_is_refused(lab: Lab) -> None:
    """D-6, D-21: never cut short in silence; nothing is touched, not even the guest."""
    vm = machine(lab)
    guest = Guest(lab, vm)

    def refused(word: str) -> None:
        asked = command(lab.vm_snapshots.create(vm))
        assert word in cloud.refused(lab, asked), word
        vm.snapshots.clear()
        assert parts(lab) == set() and guest.words == []

    lab.configure(VMSNAPSHOT_FSFREEZE=1, ONE_TPM_SAVE=0)
    refused("the state of the TPM of VM 42 is on no volume")
    lab.configure(VMSNAPSHOT_FSFREEZE=1)
    vm.disks[1]["TM_MAD"] = "ceph"
    refused("disk 1 of VM 42 is kept by ceph")
    vm.disks[1].update(TM_MAD="storpool", SHAREABLE="YES")
    refused("disk 1 of VM 42 is an image of many VMs")
    del vm.disks[1]["SHAREABLE"]
    lab.oned.add_image_datastore(102, "elsewhere", SP_API_HTTP_HOST="127.0.0.9", SP_AUTH_TOKEN="1")
    vm.disks[0]["DATASTORE_ID"] = "102"
    refused("the disks of VM 42 are in different StorPool clusters (disk 0")
    vm.disks[0]["DATASTORE_ID"] = "101"
    vm.disks[1].update(SAVE="NO", READONLY="YES")
    lab.do(lab.vm_snapshots.create(vm))
    last = vm.snapshots.pop()["HYPERVISOR_ID"]
    assert parts(lab) == of(*{*EVERYTHING} - {OWN_IMAGE}, hypervisor_id=last), "IMMUTABLE: never written to"
    lab.configure(VMSNAPSHOT_EXCLUDE_READONLY=1)
    vm.disks[2]["TM_MAD"] = "ceph"
    lab.do(lab.vm_snapshots.create(vm))
    others = of(*{*EVERYTHING} - {OWN_IMAGE, CDROM}, hypervisor_id=vm.snapshots.pop()["HYPERVISOR_ID"])
    assert others < parts(lab) and len(parts(lab)) == 11
    vm.disks[2]["TM_MAD"] = "storpool"
    lab.storpool(f"VolumeUpdate/{COPY}", {"tags": {"nloc": "two"}})
    assert "is not ours" in cloud.fails(lab, command(lab.vm_snapshots.create(vm)))
    assert len(parts(lab)) == 11


def test_limits(lab: Lab) -> None:
    """VM, then system datastore, then site; the new one counts."""
    vm = simple(lab)
    lab.configure(VMSNAPSHOT_LIMIT=0)

    def refused(*words: str) -> None:
        steps = lab.vm_snapshots.create(vm)
        line = cloud.refused(lab, next(steps))
        vm.snapshots.pop()
        assert all(word in line for word in ("VMSNAPSHOT_LIMIT", *words)), line

    refused("VM 42 may have no VM snapshots", "/var/lib/one/remotes/addon-storpoolrc")
    vm.here.system.attributes["VMSNAPSHOT_LIMIT"] = "1"
    assert lab.do(lab.vm_snapshots.create(vm)) == 0
    refused("at most 1 VM snapshots", "datastore 100")
    vm.user_attributes["VMSNAPSHOT_LIMIT"] = "0"
    refused("no VM snapshots", "of VM 42")
    lab.configure(VMSNAPSHOT_ENABLE_LIMIT=0)
    assert lab.do(lab.vm_snapshots.create(vm)) == 1
    assert parts(lab) == {f"{COPY}-{each['HYPERVISOR_ID']}" for each in vm.snapshots}


def test_only_what_opennebula_asks_for(lab: Lab) -> None:
    """D-2: neighbours of similar names stay, and so do other snapshots."""
    vm = simple(lab)
    lab.do(lab.vm_snapshots.create(vm))
    asked = command(lab.vm_snapshots.create(vm))
    unknown = asked._replace(args=(asked.args[0], "5", *asked.args[2:]))
    assert "OpenNebula knows no snapshot 5 of VM 42" in cloud.refused(lab, unknown)
    vm.snapshots.pop()
    names = (f"{COPY}-{ID}1", f"a-{COPY}-{ID}", f"{COPY}-ONESNAP-1-1769009100", f"{COPY}-snap0")
    for name in names:
        lab.storpool(f"VolumeSnapshot/{COPY}", {"name": name, "tags": TAGS})
    asked = command(lab.vm_snapshots.delete(vm, 0))
    for word in ("snap0", ""):
        other = asked._replace(args=(asked.args[0], word, *asked.args[2:]))
        assert f"VM 42 has no VM snapshot {word!r}" in cloud.refused(lab, other)
    foreign = asked._replace(args=(*asked.args[:2], "43", asked.args[3]))
    assert "standard input is not about VM 43" in cloud.refused(lab, foreign, code=2)
    gone = cloud.succeeds(lab, asked)
    cloud.succeeds(lab, asked)
    assert set(cloud.snapshots(lab)) == set(names) and not cloud.asks_for_lists(gone)
    lab.configure(VMSNAPSHOT_OVERRIDE=0)
    assert "VMSNAPSHOT_OVERRIDE is off" in cloud.refused(lab, command(lab.vm_snapshots.create(vm)))
