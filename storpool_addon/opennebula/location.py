"""Where oned wants a disk or a VM's directory: `host:path`, as it gives it to a TM script."""

from __future__ import annotations

import re
from posixpath import normpath
from typing import NamedTuple

# A name that begins with a dash would be an option to ssh.
HOST = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\-\[\]]*", re.ASCII)
_MAX_HOST = 255
_DISK = re.compile(r"(.*)/disk\.([0-9]{1,9})", re.ASCII)


class Location(NamedTuple):
    """A place on a host. path: absolute, without `//` and `..`."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Location:
        """`node1:/var/lib/one//datastores/100/42/disk.3`; ValueError when the text is not of that form."""
        host, colon, rest = text.partition(":/")
        if not colon:
            raise ValueError("is not HOST:/PATH")
        return cls(checked_host(host), absolute("/" + rest))

    @property
    def disk_id(self) -> int | None:
        """The N of `…/disk.N`, None for a directory."""
        match = _DISK.fullmatch(self.path)
        return int(match[2]) if match else None

    @property
    def directory(self) -> str:
        """The VM's directory: the path itself, or where the disk is."""
        match = _DISK.fullmatch(self.path)
        return match[1] if match else self.path

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"


def checked_host(name: str) -> str:
    """A host's name as oned has it; ValueError for what cannot be one."""
    if len(name) > _MAX_HOST or not HOST.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a host")
    return name


def absolute(path: str) -> str:
    """An absolute path without the double slashes that oned writes; ValueError for any other path."""
    if not path.startswith("/") or not path.isprintable() or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not a plain absolute path")
    # POSIX lets a leading `//` mean something else, and normpath keeps it.
    return normpath("/" + path.lstrip("/"))


def as_written(path: str) -> str:
    """An absolute path with the double slashes that oned wrote, for scripts of OpenNebula and for libvirt."""
    absolute(path)
    return path
