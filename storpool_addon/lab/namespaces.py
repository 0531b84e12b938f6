"""Gives each host of the lab a view of the file system of its own; run as a program, it holds those views.

A view is a mount namespace in which private directories stand at /var/lib/one, /dev/storpool and the like,
whether or not the machine has such directories. Root needs nothing more; an ordinary user gets the right to
mount from a user namespace (util-linux' `unshare -r` does the same), where a machine allows that.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from typing import NoReturn

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); OSError names the target."""
    words = (source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)
    _checked(_libc.mount(*words), target)


def unmount(target: str) -> None:
    """umount2(2) of what is mounted at a path, with all below it; nothing where nothing is mounted."""
    if os.path.ismount(target):
        _checked(_libc.umount2(target.encode(), MNT_DETACH), target)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def set_hostname(name: str) -> None:
    """sethostname(2), for this uts namespace."""
    _checked(_libc.sethostname(name.encode(), len(name.encode())), name)


def die_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however that happens."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_root() -> None:
    """Enter a user namespace in which this user is root."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def join_network(path: str) -> None:
    """setns(2): have the network of the namespace at `path`, this thread alone."""
    with open(path) as file:
        _checked(_libc.setns(file.fileno(), CLONE_NEWNET), path)


def fresh_network() -> int:
    """Give this thread a network of its own, its loopback up; the namespace, open."""
    unshare(CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # struct ifreq: the name in 16 bytes, then the flags.
        request = struct.pack("16sH14x", b"lo", IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def end(pid: int) -> None:
    """Kill a child, and be sure that it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class View:
    """The file system as one host sees it; made in the mount namespace that it is for."""

    def __init__(self) -> None:
        try:
            mount("none", "/", flags=MS_REC | MS_PRIVATE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _leave_chroot()
        self._covered: set[str] = set()

    def bind(self, source: str, target: str, keep: Iterable[str] = ()) -> None:
        """Let `source` stand at `target`; what is to be kept of the old content shows through."""
        kept = {path: os.open(path, os.O_PATH) for path in keep if path.startswith(target.rstrip("/") + "/")}
        self._make_mount_point(target, os.path.isdir(source))
        mount(source, target, flags=MS_BIND | MS_REC)
        for path, handle in kept.items():
            os.makedirs(path, exist_ok=True)
            mount(f"/proc/self/fd/{handle}", path, flags=MS_BIND | MS_REC)
            os.close(handle)

    def link(self, text: str, path: str) -> None:
        """Make a symbolic link where the machine has nothing of that name."""
        self._make_writable(os.path.dirname(path))
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(text, path)

    def cover(self, directory: str, but: tuple[str, ...] = ()) -> None:
        """Put a writable directory in the place of one, but for names in it that start like `but`."""
        below = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        mount("tmpfs", directory, "tmpfs", data="mode=755")
        self._covered.add(directory)
        with os.scandir(f"/proc/self/fd/{below}") as entries:
            for entry in entries:
                if not entry.name.startswith(but):
                    _show(entry, os.path.join(directory, entry.name))
        os.close(below)

    def open_up(self, paths: Iterable[str]) -> None:
        """Let everybody come to these paths; closed directories on the way then hold nothing else."""
        handles = {path: os.open(path, os.O_PATH) for path in paths}
        for path, handle in handles.items():
            closed = _closed_directory(path)
            if closed and closed not in self._covered:
                mount("tmpfs", closed, "tmpfs", data="mode=755")
                self._covered.add(closed)
            if closed or not os.path.exists(path):
                os.makedirs(path, exist_ok=True)
                mount(f"/proc/self/fd/{handle}", path, flags=MS_BIND | MS_REC)
            os.close(handle)

    def _make_mount_point(self, path: str, is_directory: bool) -> None:
        if os.path.exists(path):
            return
        self._make_writable(os.path.dirname(path))
        if is_directory:
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))

    def _make_writable(self, directory: str) -> None:
        if not os.path.isdir(directory):
            self._make_writable(os.path.dirname(directory))
            os.mkdir(directory)
            self._covered.add(directory)
        elif directory not in self._covered:
            self.cover(directory)


def _leave_chroot() -> None:
    """Where the root is a mere directory, a chroot, make it a mount of its own, which can be private."""
    anywhere = "/tmp"
    mount("/", anywhere, flags=MS_BIND | MS_REC)
    mount("none", anywhere, flags=MS_REC | MS_PRIVATE)
    os.chroot(anywhere)
    os.chdir("/")


def _closed_directory(path: str) -> str:
    """The first directory on the way to a path that others may not pass, "" when they can reach it."""
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts)):
        directory = "/" + "/".join(parts[:depth])
        if not os.path.isdir(directory) or not os.stat(directory).st_mode & 0o001:
            return directory if os.path.isdir(directory) else ""
    return ""


def _show(entry: os.DirEntry[str], path: str) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), path)
        return
    if entry.is_dir():
        os.mkdir(path)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(entry.path, path, flags=MS_BIND | MS_REC)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _hold(spec: dict[str, object], ready: int) -> NoReturn:
    """Be the process whose view one host has, until the parent ends."""
    die_with_parent()
    try:
        unshare(CLONE_NEWNS | CLONE_NEWUTS)
        set_hostname(str(spec["name"]))
        view = View()
        for source, target in spec["binds"]:  # type: ignore[attr-defined]
            view.bind(source, target, spec["keep"])  # type: ignore[arg-type]
        for text, path in spec["links"]:  # type: ignore[attr-defined]
            view.link(text, path)
        os.write(ready, b"ready\n")
    except BaseException as error:
        os.write(ready, f"{error}\n".encode())
        os._exit(1)
    os.close(ready)
    signal.pause()
    os._exit(0)


def main() -> None:
    """Do what each line of standard input asks for, and answer with a line, until the input ends: in JSON.

    {"make": [specification, …]}: the views; the answer has the process of each by its name, or "error".
    {"end": [process, …]}: no longer hold them.
    """
    if os.getuid() != 0:
        become_root()
    while line := sys.stdin.readline():
        asked = json.loads(line)
        answer = _make(asked["make"]) if "make" in asked else {}
        for pid in asked.get("end", ()):
            end(pid)
        print(json.dumps(answer), flush=True)


def _make(specs: list[dict[str, object]]) -> dict[str, object]:
    """The process of each view by its name; none of them and an "error" when one cannot be made."""
    holders = [(str(spec["name"]), *_start(spec)) for spec in specs]
    failed = ""
    for name, _, ready in holders:
        answer = os.read(ready, 4096).decode().strip()
        os.close(ready)
        if answer != "ready":
            failed = f"{name}: {answer}"
    if not failed:
        return {name: pid for name, pid, _ in holders}
    for _, pid, _ in holders:
        end(pid)
    return {"error": failed}


def _start(spec: dict[str, object]) -> tuple[int, int]:
    """The process that makes and holds a view, and where it says that it has."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _hold(spec, theirs)
    os.close(theirs)
    return pid, ours


if __name__ == "__main__":
    try:
        main()
    except OSError as failure:
        print(json.dumps({"error": str(failure)}), flush=True)
