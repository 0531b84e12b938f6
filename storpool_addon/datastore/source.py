"""Where an image comes from: what its PATH says, and whether a local file may be read at all."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import NamedTuple

from storpool_addon.errors import StateError, UsageError

# What OpenNebula's downloader.sh fetches for us.
DOWNLOADER_SCHEMES = (
    *("s3", "rbd", "lxd", "docker", "dockerfile", "vcenter", "netapp", "purefa", "onebex"),
    *("rsync", "rsync+rbd", "restic", "restic+rbd"),
)
_SCHEME = re.compile(r"([a-z][a-z0-9+]*)://", re.ASCII)
_SSH = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])"
    r":(?P<path>/.*)",
    re.ASCII | re.DOTALL,
)
# Images made from snapshots; the words are those of the bash addon.
_SNAPSHOT_WORDS = ("SPSNAPSHOT:", "VMSNAP:")
# StorPool's names of snapshots (storpool.sptype), and ~globalId for those that nobody named.
_NAMED = re.compile(r"SPSNAPSHOT:(~?[A-Za-z0-9_.:@\-]{1,199})", re.ASCII)
_OF_VM = re.compile(r"VM:([0-9]{1,10})-VMSNAP:([0-9]{1,10})-DISK:([0-9]{1,10})", re.ASCII)


class Web(NamedTuple):
    """http:// or https://."""

    url: str


class Ssh(NamedTuple):
    """A file on another host; user "" is the driver's own."""

    user: str
    host: str
    path: str


class File(NamedTuple):
    """A file of the front-end."""

    path: str


class Downloaded(NamedTuple):
    """A URL that OpenNebula's downloader.sh knows how to fetch."""

    url: str


class NamedSnapshot(NamedTuple):
    """A snapshot by its name in StorPool."""

    name: str


class DiskOfVmSnapshot(NamedTuple):
    """A disk of a VM as a snapshot of the VM has it."""

    vm_id: int
    snapshot_id: int
    disk_id: int


Source = "Web | Ssh | File | Downloaded"


def snapshot(path: str) -> NamedSnapshot | DiskOfVmSnapshot | None:
    """The snapshot that a PATH names, None when it names none; UsageError when it names one in another form.

    The name is the last part of the path: the command line of OpenNebula puts its directory before it. In
    a URL the words mean nothing.
    """
    last = path.rpartition("/")[2]
    if _SCHEME.match(path) or not any(word in last for word in _SNAPSHOT_WORDS):
        return None
    named, of_vm = _NAMED.fullmatch(last), _OF_VM.fullmatch(last)
    if named:
        return NamedSnapshot(named[1])
    if of_vm:
        return DiskOfVmSnapshot(*(int(each) for each in of_vm.groups()))
    raise UsageError(
        f"PATH {path[:300]!r} names no snapshot; write SPSNAPSHOT:<name> or VM:<id>-VMSNAP:<id>-DISK:<id>"
    )


def classify(path: str) -> Web | Ssh | File | Downloaded:
    """What an image's PATH means; UsageError when it means nothing that can be imported."""
    if not path or "\0" in path:
        raise UsageError("the image has no PATH; give a URL or the absolute path of a file on the front-end")
    scheme = _SCHEME.match(path)
    if scheme is None:
        if not path.startswith("/"):
            raise UsageError(f"PATH {path!r} is neither a URL nor an absolute path on the front-end")
        return File(path)
    return _of_url(scheme.group(1), path)


def _of_url(scheme: str, url: str) -> Web | Ssh | Downloaded:
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url) and scheme != "ssh":
        raise UsageError(f"PATH {shown(url)!r} holds a blank or a control character; write it as %XX")
    if scheme in ("http", "https"):
        return Web(url)
    if scheme == "ssh":
        parts = _SSH.fullmatch(url)
        if parts is None:
            raise UsageError(f"PATH {url!r} is not of the form ssh://[user@]host:/absolute/path")
        return Ssh(parts["user"] or "", parts["host"].strip("[]"), parts["path"])
    if scheme in DOWNLOADER_SCHEMES:
        return Downloaded(url)
    known = ", ".join(("http", "https", "ssh", *DOWNLOADER_SCHEMES))
    raise UsageError(f"PATH {shown(url)!r}: {scheme}:// is not supported; use {known}")


def shown(path: str) -> str:
    """A PATH as logs and errors may show it: without a URL's password and query, which can be secrets."""
    if "://" not in path:
        return path
    scheme, _, rest = re.split("[?#]", path)[0].partition("://")
    authority, slash, where = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{where}"


def open_file(path: str, safe_dirs: Sequence[str], restricted_dirs: Sequence[str]) -> int:
    """A descriptor of a file of the front-end that users may import.

    The rule is that of OpenNebula's libfs.sh: what is in a safe directory may be read, then what is in a
    restricted one may not. The path is resolved once and what was opened must be what was checked, so
    that a link put in its place in between leads nowhere.
    """
    real = os.path.realpath(path)
    if not _inside(real, safe_dirs) and _inside(real, restricted_dirs):
        raise StateError(f"file {path} may not be imported from there; copy it to {' or '.join(safe_dirs)}")
    # Without O_NONBLOCK, opening a named pipe would wait for its writer for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(real, flags)
    except OSError as error:
        raise StateError(f"file {path} cannot be read: {error.strerror}") from None
    kind = os.fstat(fd).st_mode
    problem = ""
    if os.readlink(f"/proc/self/fd/{fd}") != real:
        problem = "was exchanged while it was opened"
    elif not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
        problem = "is not a regular file"
    if problem:
        os.close(fd)
        raise StateError(f"file {path} {problem}; give the path of an image file")
    return fd


def changed_by_others(fd: int) -> bool:
    """Whether somebody but root and us could still change an open file."""
    status = os.fstat(fd)
    return status.st_uid not in (0, os.geteuid()) or bool(status.st_mode & 0o022)


def _inside(real: str, directories: Sequence[str]) -> bool:
    """Whether a resolved path is in one of the directories, themselves resolved."""
    tops = (os.path.realpath(each) for each in directories)
    return any(top == "/" or real == top or real.startswith(top + "/") for top in tops)
