"""A small Linux for the lab's machines: Debian's kernel, busybox and the guest agent on a disk that boots.

The packages are fetched with apt and only unpacked, nothing is installed; what comes of it is kept in the
checkout's .venv. The disk is one FAT file system: SeaBIOS starts syslinux from it, UEFI systemd-boot.
"""

from __future__ import annotations

import fcntl
import glob
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from typing import NamedTuple

from storpool_addon.lab import cpio, guestinit
from storpool_addon.lab.libvirtd import cache
from storpool_addon.lab.programs import SYSTEM_PATH, is_there

KERNEL = "linux-image-cloud-amd64"
PACKAGES = ("qemu-guest-agent", "busybox-static", "mtools", "syslinux", "systemd-boot-efi")
# What is loaded at boot, with what it needs; Debian's cloud kernel has ext4, the TPM and hot-plug built in.
MODULES = (
    "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "virtio_console", "ata_piix", "isofs",
    "evdev", "button", "vfat", "nls_cp437", "nls_ascii", "efivarfs", "crc32c_generic",
)  # fmt: skip
# Quick and quiet: a guest may run under TCG, where every character of a serial line costs.
COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off nopti random.trust_cpu=on audit=0"
    " apparmor=0 init_on_alloc=0 raid=noautodetect cryptomgr.notests no_timer_check tsc=reliable"
)
DISK_SIZE = 40 << 20
TIMEOUT_S = 300.0
_DIGITS = 12


class NoGuest(Exception):
    """This machine cannot have the guest; the message says why, in one line."""


class Guest(NamedTuple):
    """Paths of what a guest is made of. disk: raw, boots with SeaBIOS and with UEFI."""

    kernel: str
    initrd: str
    disk: str


def guest() -> Guest:
    """The guest, made if it is not there yet; NoGuest where it cannot be."""
    os.makedirs(cache(), exist_ok=True)
    directory = os.path.join(cache(), f"guest-{_digest()}")
    made = Guest(*(os.path.join(directory, name) for name in ("kernel", "initrd", "disk")))
    with open(directory + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(directory):
            _make(directory)
    return made


def _digest() -> str:
    """Changes with the program that makes the guest."""
    content = hashlib.sha256()
    for module in (__file__, guestinit.__file__, cpio.__file__):
        with open(module, "rb") as file:
            content.update(file.read())
    return content.hexdigest()[:_DIGITS]


def _make(directory: str) -> None:
    missing = [name for name in ("apt-get", "apt-cache", "dpkg-deb", "ldd") if not is_there(name)]
    if missing:
        raise NoGuest(f"the small guest is left out because this machine has no {', '.join(missing)}")
    for outdated in glob.glob(os.path.join(os.path.dirname(directory), f"guest-{'?' * _DIGITS}")):
        shutil.rmtree(outdated, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=os.path.dirname(directory)) as scratch:
        root, new = os.path.join(scratch, "root"), os.path.join(scratch, "new")
        os.mkdir(new)
        _fetch([_kernel_package(), *PACKAGES], scratch, root)
        made = Guest(*(os.path.join(new, name) for name in ("kernel", "initrd", "disk")))
        shutil.copyfile(_one(root, "boot/vmlinuz-*"), made.kernel)
        with open(made.initrd, "wb") as file:
            # Half of it is quicker to read, and to measure for a TPM, than it takes to unpack.
            file.write(gzip.compress(cpio.archive({**_programs(root), **_modules(root)})))
        _make_disk(root, made)
        os.chmod(new, 0o755)
        os.rename(new, directory)


# Packages


def _kernel_package() -> str:
    """The package that the one for all versions depends on."""
    ask = ["apt-cache", "show", "--no-all-versions", KERNEL]
    shown = _run(ask, None).stdout
    if not shown and os.getuid() == 0:
        # Images of containers come without apt's lists.
        _run(["apt-get", "-qq", "update"], None)
        shown = _run(ask, None).stdout
    found = re.search(r"^Depends: .*?(linux-image-\d\S+-cloud-amd64)", shown, re.MULTILINE)
    if not found:
        raise NoGuest(f"the small guest is left out because apt knows no package {KERNEL}")
    return found[1]


def _fetch(packages: Iterable[str], scratch: str, root: str) -> None:
    """Download and unpack; apt does the first as its own user where it can, so that it must be let in."""
    os.chmod(scratch, 0o755)
    done = _run(["apt-get", "-qq", "-o", "Acquire::Retries=3", "download", *packages], scratch)
    files = glob.glob(os.path.join(scratch, "*.deb"))
    if done.returncode != 0 or not files:
        raise NoGuest(f"the small guest is left out because apt-get cannot download it: {_last(done.stderr)}")
    for file in files:
        unpacked = _run(["dpkg-deb", "-x", file, root], scratch)
        if unpacked.returncode != 0:
            raise NoGuest(f"the small guest is left out because of {file}: {_last(unpacked.stderr)}")


# The initial file system


def _programs(root: str) -> dict[str, cpio.Entry]:
    """busybox under all its names, the guest agent with its libraries, and our own scripts."""
    busybox, agent = _one(root, "bin/busybox"), _one(root, "usr/sbin/qemu-ga")
    names = _run([busybox, "--list"], None).stdout.split()
    entries = {f"bin/{name}": cpio.link("busybox") for name in names if name not in ("poweroff", "halt")}
    entries.update({name: cpio.directory() for name in ("dev", "proc", "sys", "run", "tmp", "etc", "mnt")})
    entries.update({"sbin": cpio.link("bin"), "dev/console": cpio.console()})
    entries.update({path.lstrip("/"): cpio.file(_read(path)) for path in _libraries(agent)})
    entries.update({"bin/busybox": cpio.file(_read(busybox)), "bin/qemu-ga": cpio.file(_read(agent))})
    entries["bin/shutdown"] = cpio.file(guestinit.SHUTDOWN.encode())
    entries["init"] = cpio.file(guestinit.SCRIPT.encode())
    return entries


def _libraries(program: str) -> list[str]:
    """What the program loads, and the loader: files of this machine, which has the same distribution."""
    done = _run(["ldd", program], None)
    if done.returncode != 0 or "not found" in done.stdout:
        lacking = re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE)
        raise NoGuest(
            "the small guest is left out because its agent's libraries are not installed:"
            f" {', '.join(lacking) or _last(done.stderr)}"
        )
    return re.findall(r"(/\S+) \(0x", done.stdout)


def _modules(root: str) -> dict[str, cpio.Entry]:
    """The kernel's modules, and the order in which they are loaded."""
    files = glob.glob(os.path.join(root, "lib/modules/*/kernel/**/*.ko"), recursive=True)
    by_name = {os.path.basename(path)[:-3].replace("-", "_"): path for path in files}
    order: list[str] = []
    for name in MODULES:
        _add_module(name, by_name, order)
    entries = {f"modules/{name}": cpio.file(_read(by_name[name])) for name in order}
    entries["modules/order"] = cpio.file("".join(f"{name}\n" for name in order).encode())
    return entries


def _add_module(name: str, by_name: dict[str, str], order: list[str]) -> None:
    """Add a module behind those that it needs; what is no file is built into the kernel."""
    if name in order or name not in by_name:
        return
    needs = re.search(rb"\0depends=([^\0]*)\0", _read(by_name[name]))
    for each in needs[1].decode().split(",") if needs else []:
        _add_module(each.replace("-", "_"), by_name, order)
    order.append(name)


# The disk


def _make_disk(root: str, made: Guest) -> None:
    tools = os.path.join(root, "usr/bin")
    with open(made.disk, "wb") as file:
        file.truncate(DISK_SIZE)
    # The geometry is what BIOSes assume of a disk of this size; syslinux reads by sector number anyway.
    _tool(
        tools,
        "mformat",
        "-i",
        made.disk,
        "-h",
        "64",
        "-s",
        "32",
        "-t",
        str(DISK_SIZE >> 20),
        "-v",
        "GUEST",
        "::",
    )
    _tool(tools, "mmd", "-i", made.disk, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries")
    boot = _one(root, "usr/lib/systemd/boot/efi/systemd-bootx64.efi")
    bios = ("DEFAULT linux", "LABEL linux", "KERNEL kernel", "INITRD initrd", f"APPEND {COMMAND_LINE}")
    uefi = ("title linux", "linux /kernel", "initrd /initrd", f"options {COMMAND_LINE}")
    texts = {
        "::/syslinux.cfg": bios,
        "::/loader/loader.conf": ("timeout 0",),
        "::/loader/entries/linux.conf": uefi,
    }
    files = {"::/EFI/BOOT/BOOTX64.EFI": boot, "::/kernel": made.kernel, "::/initrd": made.initrd}
    for number, (target, lines) in enumerate(texts.items()):
        files[target] = os.path.join(os.path.dirname(root), f"text{number}")
        with open(files[target], "w") as file:
            file.write("\n".join(lines) + "\n")
    for target, source in files.items():
        _tool(tools, "mcopy", "-i", made.disk, source, target)
    _tool(tools, "syslinux", "--install", made.disk)


def _tool(tools: str, *argv: str) -> None:
    done = _run([os.path.join(tools, argv[0]), *argv[1:]], None, f"{tools}:{SYSTEM_PATH}")
    if done.returncode != 0:
        raise NoGuest(f"the small guest is left out because of {argv[0]}: {_last(done.stderr)}")


# Parts


def _one(root: str, pattern: str) -> str:
    found = glob.glob(os.path.join(root, pattern))
    if len(found) != 1:
        raise NoGuest(f"the small guest is left out because its packages have no {pattern}")
    return found[0]


def _run(argv: list[str], directory: str | None, path: str = SYSTEM_PATH) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path, "LC_ALL": "C", "MTOOLS_SKIP_CHECK": "1"}
    nothing = subprocess.DEVNULL
    return subprocess.run(
        argv, cwd=directory, capture_output=True, text=True, env=environment, stdin=nothing,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
