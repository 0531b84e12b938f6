"""A Linux that UEFI boots: its variables are on a volume, and its TPM goes wherever it goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.guest import Guest
from storpool_addon.lab.inside import OURS, Inside, imported
from storpool_addon.lab.lab import Lab
from tests.tm import cloud

OVMF = Path("/usr/share/OVMF")
pytestmark = [
    pytest.mark.xdist_group("libvirt"),
    pytest.mark.needs("swtpm", "swtpm_setup"),
    pytest.mark.skipif(not (OVMF / "OVMF_CODE_4M.fd").exists(), reason="OVMF is not installed"),
]
LOADER = f"{OVMF}/OVMF_CODE_4M.fd:readonly=yes type=pflash secure=no"
VARIABLE = "/sys/firmware/efi/efivars/Note-6e2a5a9c-2f0f-4f3e-8d6b-0f6c2f3f7a11"
TEXT = "kept by the firmware"
SECRET = b"kept by the TPM"
# TPM 2.0 Library, part 3: NV_DefineSpace, NV_Write, NV_Read, as the owner without a password.
DEFINE, WRITE, READ, OWNER, INDEX = 0x12A, 0x137, 0x14E, 0x40000001, 0x01500001
READABLE_AND_WRITABLE = 0x00060006


def tpm(linux: Inside, code: int, handles: tuple[int, ...], parameters: bytes) -> bytes:
    """What the TPM answers to a command, without head and session."""
    password = bytes.fromhex("00000009 40000009 0000 00 0000")
    body = b"".join(each.to_bytes(4, "big") for each in handles) + password + parameters
    head = b"\x80\x02" + (10 + len(body)).to_bytes(4, "big") + code.to_bytes(4, "big")
    answer = bytes.fromhex("".join(linux.run(f"tpm {(head + body).hex()}").split()))
    assert answer[6:10] == bytes(4), answer.hex()
    return answer[14:-5]


def sized(content: bytes) -> bytes:
    """With its length, as a TPM wants it."""
    return len(content).to_bytes(2, "big") + content


def remember(linux: Inside) -> None:
    """Something in the firmware's variables, and something in the TPM."""
    linux.run(f"printf '\\7\\0\\0\\0{TEXT}' >{VARIABLE}")
    public = INDEX.to_bytes(4, "big") + b"\0\x0b" + READABLE_AND_WRITABLE.to_bytes(4, "big")
    public += sized(b"") + len(SECRET).to_bytes(2, "big")
    tpm(linux, DEFINE, (OWNER,), sized(b"") + sized(public))
    tpm(linux, WRITE, (OWNER, INDEX), sized(SECRET) + bytes(2))


def remembers(linux: Inside) -> bool:
    """Both are still there."""
    assert linux.run(f"tail -c {len(TEXT)} {VARIABLE}") == TEXT
    return tpm(linux, READ, (OWNER, INDEX), len(SECRET).to_bytes(2, "big") + bytes(2)) == sized(SECRET)


@pytest.fixture
def lab(libvirt_lab: Lab) -> Iterator[Lab]:
    """With this driver's scripts, the variables' template and the tweak that puts them on a volume."""
    libvirt_lab.hypervisor.local.update(OURS)
    libvirt_lab.configure(DEPLOY_TWEAKS="volatile2dev os")
    variables = (OVMF / "OVMF_VARS_4M.fd").read_bytes()
    libvirt_lab.hosts.frontend.write("/var/lib/one/remotes/OVMF/VARS.fd", variables)
    yield libvirt_lab
    libvirt_lab.hypervisor.local.clear()


def test_firmware_and_tpm_remember(lab: Lab, guest: Guest) -> None:
    """After a live migration, and after the VM was undeployed and started on another host."""
    image = imported(lab, guest.disk)
    vm = lab.vms.create(image, T_OS_LOADER=LOADER, T_OS_NVRAM="storpool:type=block template=VARS.fd")
    vm.attributes["OS"] = {"MACHINE": "q35"}
    vm.attributes["TPM"] = {"MODEL": "tpm-crb"}
    linux = Inside(lab, vm)
    vm.attributes["MEMORY"] = "256"
    linux.start("node1")
    nvram, state = f"one-sys-{vm.id}-NVRAM", f"one-sys-{vm.id}-SWTPM"
    remember(linux)
    number = lab.do(lab.vm_snapshots.create(vm))
    parts = {name.partition("-ONESNAP")[0] for name in cloud.snapshots(lab) if "ONESNAP" in name}
    assert {nvram, state} < parts and TEXT.encode() in lab.read_volume(nvram)
    lab.do(lab.vm_snapshots.delete(vm, number))

    lab.do(lab.vms.live_migrate(vm, "node2"))
    linux.follow()
    assert remembers(linux) and linux.run("wrong") == ""
    assert cloud.attached(lab, nvram) == {nvram: {"node2": "rw"}}

    lab.do(lab.domains.undeploy(vm))
    assert {nvram, state} < cloud.volumes(lab) and not any(cloud.attached(lab).values())
    lab.do(lab.vms.resume(vm, "node1"))
    linux.follow()
    linux.console.wait_ready()
    assert remembers(linux)
    linux.console.close()
    lab.do(lab.vms.terminate(vm))
    assert not {nvram, state} & cloud.volumes(lab)
    lab.do(lab.images.delete(image))
