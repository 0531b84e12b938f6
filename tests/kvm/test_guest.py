"""The lab's small guest itself, under a plain QEMU: what the tests of the hypervisor's side stand on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.console import Console, GuestError
from storpool_addon.lab.guest import Guest
from tests.programs import needs

QEMU = (
    "qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-m", "192", "-nographic", "-monitor", "none",
    "-no-reboot",
)  # fmt: skip


@pytest.fixture
def console(guest: Guest, tmp_path: Path) -> Iterator[Console]:
    """The guest's console, from a disk that SeaBIOS boots."""
    disk, line = tmp_path / "disk", tmp_path / "line"
    shutil.copyfile(guest.disk, disk)
    argv = [*QEMU, "-drive", f"file={disk},format=raw,if=none,id=disk"]
    argv += ["-device", "virtio-blk-pci,drive=disk,serial=first"]
    argv += ["-chardev", f"socket,id=line,path={line},server=on,wait=off", "-serial", "chardev:line"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    console = Console(str(line))
    yield console
    console.close()
    process.kill()
    process.wait()


@needs("qemu-system-x86_64")
def test_the_guest_obeys_its_console(console: Console) -> None:
    console.wait_ready()
    assert console.run("disks") == f"vda {40 << 20} first"
    assert console.run("mount /dev/vda /mnt && cat /mnt/loader/loader.conf") == "timeout 0"
    assert console.ask("echo one; false; echo two; exit 3 | true; false") == (1, "one\ntwo")
    assert console.ask("") == (0, "")
    with pytest.raises(GuestError, match=r"`no-such-program` ended with 127: .*not found"):
        console.run("no-such-program")
    with pytest.raises(GuestError, match=r"said nothing like .*done"):
        console.ask("sleep 1", timeout_s=0.1)
    assert console.run("wrong") == ""
