"""What the scripts that these tweaks follow got wrong, where no golden case shows it."""

from __future__ import annotations

import re

from storpool_addon.config import Config
from storpool_addon.domain.tweaking import tweak
from tests.domain import golden

VOLATILE = b"<domain><devices><disk><source file='/x/disk.3'/></disk></devices></domain>"


def test_volatile_disks_of_two_vms_have_two_serial_numbers() -> None:
    vm = golden.vm_of("linux-pc", {"T_DISKSERIAL": "on"})
    made = {tweak(VOLATILE, each, Config().for_vm(each), ["disk-serial"]) for each in (vm, vm._replace(id=7))}
    assert len(made) == 2
    assert all(re.search(rb"<serial>[0-9a-f]{20}</serial>", each) for each in made)


def test_a_serial_number_of_the_user_s_stays() -> None:
    vm = golden.vm_of("linux-pc", {"T_DISKSERIAL": "on"})
    own = VOLATILE.replace(b"</disk>", b"<serial>mine</serial></disk>")
    assert tweak(own, vm, Config().for_vm(vm), ["disk-serial"]).count(b"<serial>mine</serial>") == 1


def test_no_memory_is_lost_between_sockets() -> None:
    vm = golden.vm_of("linux-pc", {"T_CPU_SOCKETS": "3"})
    document = b"<domain><vcpu>3</vcpu><memory unit='KiB'>4194305</memory></domain>"
    cells = re.findall(rb'memory="([0-9]+)"', tweak(document, vm, Config().for_vm(vm), ["cpu"]))
    assert cells == [b"1398784", b"1397760", b"1397761"]
    assert sum(map(int, cells)) == 4194305


def test_a_vm_that_was_never_deployed_and_a_disk_without_a_source() -> None:
    vm = golden.vm_of("linux-pc", {"T_PERSISTENT_CDROM": "1"})._replace(history=())
    document = b"<domain><devices><disk device='cdrom'/><disk type='file'><source/></disk></devices></domain>"
    for name in ("volatile2dev", "disk-cache-io", "context-cache", "persistent-cdrom"):
        assert tweak(document, vm, Config().for_vm(vm), [name]).replace(b'"', b"'") == document + b"\n"
