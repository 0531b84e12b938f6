"""A host of the lab: with files, devices and a name of its own, reached by ssh, mortal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

FRONTEND = "frontend"
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


def layout(directory: str, devices: str, name: str) -> Layout:
    """Where a host of that name has its files."""
    return Layout(os.path.join(directory, "hosts", name), os.path.join(devices, name))


def captured(argv: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end, nothing on its input."""
    nothing = subprocess.DEVNULL
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, stdin=nothing, check=False)


class Host:
    """One host of the lab, or its front-end."""

    def __init__(self, name: str, layout: Layout) -> None:
        self.name = name
        self.layout = layout
        self.enter: list[str] = []
        self.login: list[str] = []
        self.owner: tuple[int, int] | None = None
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
        self._give(target)

    def _give(self, path: str) -> None:
        """Let the service user own a file and the directories above it."""
        while self.owner and path.startswith(self.layout.files + "/"):
            os.chown(path, *self.owner)
            path = os.path.dirname(path)

    def run(self, command: str, *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a bash command on the host, as somebody logged in there."""
        return captured([*self.enter, *self.login, "bash", "-c", command], timeout_s)

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
