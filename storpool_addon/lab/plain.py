"""Hosts for machines that refuse private views of the file system: paths are replaced in commands instead.

What a host knows as /var/lib/one is a directory elsewhere, and a program in the place of ssh puts that
directory's path into the commands that it is given. The front-end has no /dev/storpool: images go over hosts.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import TypeVar

from storpool_addon.lab.hosts import FRONTEND, Host, captured, layout
from storpool_addon.lab.hostset import Hosts
from storpool_addon.lab.programs import SYSTEM_PATH, program, write_stub, write_watchers
from storpool_addon.lab.standin import translated

T = TypeVar("T")
# Arguments of actions that are files of the front-end; all others are places on hosts.
_FRONTEND_FILES = ("/var/lib/one/remotes/", "/var/lib/one/vms/", "/var/tmp/")


class PlainHost(Host):
    """A host that is a directory, and a way to put that into commands."""

    def __init__(self, name: str, directory: str, devices: str) -> None:
        super().__init__(name, layout(directory, devices, name))
        own = {path: source for source, path in self.layout.binds()}
        self.paths = {**own, "/etc/storpool.conf": self.path("/etc/storpool.conf")}
        self.shown: dict[str, str] = {}

    def run(self, command: str, *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """See Host."""
        configured = [f"{name}={value}" for name, value in self.storpool().items()]
        argv = [*self.login, *configured, "bash", "-c", translated(command, self.paths)]
        return captured(argv, timeout_s)

    def storpool(self) -> dict[str, str]:
        """The host's storpool.conf, as the environment that takes its place."""
        try:
            with open(self.path("/etc/storpool.conf")) as file:
                lines = file.read().partition("[")[0].split()
        except FileNotFoundError:
            return {}
        return dict(line.split("=", 1) for line in lines)

    def link(self, path: str) -> str | None:
        """See Host."""
        text = super().link(path)
        return None if text is None else translated(text, self.shown)


class PlainHosts(Hosts):
    """The front-end and the nodes."""

    frontend_has_devices = False

    def __init__(
        self, directory: str, names: Sequence[str], devices: str, desk: str, keep: Sequence[str] = ()
    ) -> None:
        super().__init__(directory)
        self._programs = os.path.join(directory, "bin")
        hosts = [PlainHost(name, directory, devices) for name in (FRONTEND, *names)]
        self._frontend = hosts[0]
        self.frontend = hosts[0]
        self.nodes = {host.name: host for host in hosts[1:]}
        # A link that was copied from another host has that host's path in it.
        shown = {outside: path for host in hosts for path, outside in host.paths.items()}
        for host in hosts:
            host.shown = shown
        self._lead_to(hosts, desk, [directory, *keep])

    def action_argv(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> list[str]:
        """See Hosts."""
        paths = self._frontend.paths
        words = {**environment, **self._frontend.storpool(), "TMPDIR": self._temporary}
        words.update(HOME=paths["/var/lib/one"], PATH=f"{self._programs}:{SYSTEM_PATH}")
        assigned = [f"{name}={value}" for name, value in words.items()]
        ours = [translated(word, paths) if word.startswith(_FRONTEND_FILES) else word for word in argv]
        return [program("env"), "-i", "-C", translated(directory, paths), *assigned, *ours]

    def given(self, stdin: bytes) -> bytes:
        """See Hosts. Images lie in the front-end's /var/tmp."""
        own = {"/var/tmp": self._frontend.paths["/var/tmp"]}
        if stdin.startswith(b"<"):
            return translated(stdin.decode(), own).encode()
        return base64.b64encode(translated(base64.b64decode(stdin).decode(), own).encode())

    def _lead_to(self, hosts: Sequence[PlainHost], desk: str, kept: Sequence[str]) -> None:
        """Programs as for fast hosts, but with paths to replace instead of views to enter."""
        on_host = os.path.join(self._directory, "hostbin")
        power = {host.name: host.power for host in hosts}
        for host in hosts:
            words = [f"PATH={on_host}:{SYSTEM_PATH}", f"HOME={host.paths['/var/lib/one']}", "LANG=C"]
            host.login = [program("env"), "-i", "-C", host.paths["/var/lib/one"], *words]
        enter = {host.name: host.login for host in hosts}
        paths = {host.name: _replaced(host, hosts, kept) for host in hosts}
        write_watchers(self._programs, desk)
        write_stub(os.path.join(self._programs, "ssh"), f"ssh({desk!r}, {power!r}, {enter!r}, {paths!r})")
        write_stub(os.path.join(on_host, "ssh"), f"ssh(None, {power!r}, {enter!r}, {paths!r})")


def _replaced(host: PlainHost, hosts: Sequence[PlainHost], kept: Sequence[str]) -> dict[str, str]:
    """What is put in the place of what for a host: also what ssh on another host has replaced already."""
    paths = {path: path for path in kept}
    for path, own in host.paths.items():
        paths.update({path: own, **{other.paths[path]: own for other in hosts}})
    return paths
