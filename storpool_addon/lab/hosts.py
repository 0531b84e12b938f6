"""The hosts of the lab: each with files, devices and a name of its own, reached by ssh, mortal."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from storpool_addon.lab import standin
from storpool_addon.lab.conductor import Desk

FRONTEND = "frontend"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Everything that the driver starts, or may start one day, and that is worth counting and breaking.
WATCHED = (
    "qemu-*", "mkfs", "mkfs.*", "mke2fs", "mkswap", "xorriso", "genisoimage", "mkisofs", "blockdev",
    "timeout", "dd", "tar", "rsync", "curl", "wget", "gzip", "bzip2", "xz", "zstd", "lz4", "sha256sum",
    "md5sum", "virsh", "systemd-run", "cgexec",
)  # fmt: skip
_CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What a host has of its own: the path on the host, and the directory's name among the host's files.
_OWN = {"/var/lib/one": "var_lib_one", "/var/tmp": "var_tmp", "/etc/storpool.conf.d": "storpool_conf_d"}


class NoHosts(Exception):
    """This machine cannot give us hosts; the message says why, in one line."""


class Layout(NamedTuple):
    """Where a host's files are on the machine. devices: DIR/storpool and DIR/storpool-byid."""

    files: str
    devices: str

    def binds(self) -> list[tuple[str, str]]:
        """(directory on the machine, path on the host)."""
        own = [(os.path.join(self.files, name), path) for path, name in _OWN.items()]
        return [
            *own,
            *((os.path.join(self.devices, name), f"/dev/{name}") for name in ("storpool", "storpool-byid")),
        ]

    def make(self) -> None:
        """Make the directories."""
        for directory, _ in self.binds():
            os.makedirs(directory, exist_ok=True)


class Host:
    """One host of the lab, or its front-end."""

    def __init__(self, name: str, layout: Layout) -> None:
        self.name = name
        self.layout = layout
        self.enter: list[str] = []
        self.login: list[str] = []
        self._power = os.path.join(layout.files, "power")
        layout.make()
        self._set_power("on")

    def path(self, path: str) -> str:
        """Where a path of the host is on this machine; ValueError for one that all hosts share."""
        for directory, target in self.layout.binds():
            if path == target or path.startswith(target + "/"):
                return directory + os.path.normpath(path)[len(target) :]
        if path == "/etc/storpool.conf":
            return os.path.join(self.layout.files, "storpool.conf")
        raise ValueError(f"{path} is not a host's own")

    def device(self, volume: str) -> str:
        """Where the device of a volume that is attached to the host can be opened on this machine."""
        return os.path.realpath(os.path.join(self.layout.devices, "storpool", volume))

    def link(self, path: str) -> str | None:
        """The text of a symbolic link on the host; None when there is no such link."""
        try:
            return os.readlink(self.path(path))
        except OSError:
            return None

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file of the host, with the directories that it needs."""
        target = self.path(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(target, mode)

    def run(self, command: str, *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a bash command on the host, as somebody logged in there."""
        argv = [*self.enter, *self.login, "bash", "-c", command]
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False
        )

    def power_off(self, *, hang: bool = False) -> None:
        """The host is gone: nobody answers there; with `hang` connections open, and nothing more happens."""
        self._set_power("hang" if hang else "off")

    def power_on(self) -> None:
        """The host is back."""
        self._set_power("on")

    @property
    def power(self) -> str:
        """The file that says "on", "off" or "hang"."""
        return self._power

    def _set_power(self, state: str) -> None:
        with open(self._power, "w") as file:
            file.write(state)


class Hosts(Protocol):
    """A set of hosts, of either kind."""

    frontend: Host
    nodes: dict[str, Host]

    def action_argv(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> list[str]:
        """The command line that becomes `argv` on the front-end, in the very same process."""

    def restart(self) -> None:
        """Bring every host back to power."""

    def close(self) -> None:
        """Give everything back."""


class FastHosts:
    """Hosts that are no more than a view of the file system; a program in the place of ssh leads to them."""

    def __init__(
        self, directory: str, names: Sequence[str], devices: str, desk: Desk, keep: Sequence[str] = ()
    ) -> None:
        self._directory = directory
        everyone = {name: Host(name, _layout(directory, devices, name)) for name in (FRONTEND, *names)}
        self.frontend = everyone.pop(FRONTEND)
        self.nodes = everyone
        self._temporary = os.path.join(directory, "tmp")
        os.makedirs(self._temporary, exist_ok=True)
        known = [directory, _CHECKOUT, sys.prefix, sys.base_prefix, *keep]
        self._holder = _start_holder([*everyone.values(), self.frontend], known)
        _write_programs(directory, [self.frontend, *everyone.values()], desk.address)

    def __enter__(self) -> FastHosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def action_argv(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> list[str]:
        """See Hosts."""
        programs = os.path.join(self._directory, "bin")
        words = {**environment, "PATH": f"{programs}:{SYSTEM_PATH}", "TMPDIR": self._temporary}
        assigned = [f"{name}={value}" for name, value in words.items()]
        return [*self.frontend.enter, "env", "-i", "-C", directory, *assigned, *argv]

    def restart(self) -> None:
        """See Hosts."""
        for host in self.nodes.values():
            host.power_on()

    def close(self) -> None:
        """See Hosts."""
        # The views end with their holder, and the holder with its input.
        self._holder.communicate()


def _layout(directory: str, devices: str, name: str) -> Layout:
    return Layout(os.path.join(directory, "hosts", name), os.path.join(devices, name))


def _start_holder(hosts: Sequence[Host], keep: Sequence[str]) -> subprocess.Popen[str]:
    """Start the process that holds the hosts' views; each host then knows how to enter its own."""
    specs = [_spec(host, keep) for host in hosts]
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "namespaces.py")
    holder = subprocess.Popen(
        [sys.executable, "-I", "-S", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin and holder.stdout
    holder.stdin.write(json.dumps(specs) + "\n")
    holder.stdin.flush()
    answer = json.loads(holder.stdout.readline() or '{"error": "the holder of the views ended"}')
    if "error" in answer:
        holder.communicate()
        raise NoHosts(
            f"hosts cannot be played here: a private view of the file system is refused ({answer['error']})"
        )
    for host in hosts:
        host.enter = enter_command(answer[host.name], as_root=os.getuid() == 0)
    return holder


def _spec(host: Host, keep: Sequence[str]) -> dict[str, object]:
    links = [(host.path("/etc/storpool.conf"), "/etc/storpool.conf")]
    return {"name": host.name, "binds": host.layout.binds(), "links": links, "keep": list(keep)}


def enter_command(pid: int, *, as_root: bool) -> list[str]:
    """What precedes a command line so that it runs in the view that process `pid` holds."""
    user = [] if as_root else ["--user", "--preserve-credentials"]
    return [_program("nsenter"), "-t", str(pid), *user, "-m", "-u", "--"]


def _program(name: str) -> str:
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise NoHosts(f"hosts cannot be played here: the program {name} is not installed")
    return found


def _write_programs(directory: str, hosts: Sequence[Host], desk: str) -> None:
    """The programs before an action's PATH, and ssh alone before that of a command on a host."""
    programs, on_host = os.path.join(directory, "bin"), os.path.join(directory, "hostbin")
    power = {host.name: host.power for host in hosts}
    for host in hosts:
        words = [f"PATH={on_host}:{SYSTEM_PATH}", "HOME=/var/lib/one", "USER=oneadmin", "LANG=C"]
        host.login = [_program("env"), "-i", "-C", "/var/lib/one", *words]
    # Who asks is in the view of a host already: the user that all views share needs no second entrance.
    enter = {host.name: [*_without_user(host.enter), *host.login] for host in hosts}
    _write_stub(os.path.join(programs, "ssh"), f"ssh({desk!r}, {power!r}, {enter!r})")
    _write_stub(os.path.join(on_host, "ssh"), f"ssh(None, {power!r}, {enter!r})")
    watched = os.path.join(programs, ".watched")
    _write_stub(watched, f"tool({desk!r}, {programs!r})")
    for name in _watched_programs():
        os.symlink(".watched", os.path.join(programs, name))
    _write_setpriv(programs)


def _write_setpriv(programs: str) -> None:
    """setpriv, which the driver puts before every child: what is not watched by name is watched here."""
    own = os.path.join(programs, "of-setpriv")
    os.mkdir(own)
    os.symlink("../.watched", os.path.join(own, "setpriv"))
    script = (
        f'#!/bin/sh\nfor word; do [ "$next" ] && break; [ "$word" = -- ] && next=1; done\n'
        f'[ -e "{programs}/$word" ] && exec {_program("setpriv")} "$@"\nexec "{own}/setpriv" "$@"\n'
    )
    _write_executable(os.path.join(programs, "setpriv"), script)


def _write_stub(path: str, call: str) -> None:
    head = f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {_CHECKOUT!r})\n"
    _write_executable(path, f"{head}from {standin.__name__} import *\n{call}\n")


def _write_executable(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def _watched_programs() -> set[str]:
    found: set[str] = set()
    for directory in SYSTEM_PATH.split(":"):
        names = os.listdir(directory) if os.path.isdir(directory) else []
        found.update(name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in WATCHED))
    return found


def _without_user(enter: Sequence[str]) -> list[str]:
    return [word for word in enter if word not in ("--user", "--preserve-credentials")]
