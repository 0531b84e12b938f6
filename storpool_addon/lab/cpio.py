"""An archive for the kernel's initial file system: the format that cpio calls newc."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import NamedTuple

_TRAILER = "TRAILER!!!"


class Entry(NamedTuple):
    """One name of the archive. mode: with the kind of file. device: major and minor number of a node."""

    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory() -> Entry:
    """A directory that everybody can read."""
    return Entry(stat.S_IFDIR | 0o755)


def file(content: bytes, mode: int = 0o755) -> Entry:
    """A plain file."""
    return Entry(stat.S_IFREG | mode, content)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def console() -> Entry:
    """The node /dev/console, which the first process has for input and output."""
    return Entry(stat.S_IFCHR | 0o600, b"", (5, 1))


def archive(entries: Mapping[str, Entry]) -> bytes:
    """The archive of these entries (path without the first slash), with the directories that they need."""
    whole = {parent: directory() for path in entries for parent in _parents(path)}
    whole.update(entries)
    packed = [_packed(number, name, whole[name]) for number, name in enumerate(sorted(whole), 1)]
    return b"".join([*packed, _packed(0, _TRAILER, Entry(0))])


def _parents(path: str) -> list[str]:
    words = path.split("/")
    return ["/".join(words[:n]) for n in range(1, len(words))]


def _packed(number: int, name: str, entry: Entry) -> bytes:
    """Thirteen numbers of eight hexadecimal digits, the name, the content; both end at a multiple of four."""
    path = name.encode() + b"\0"
    numbers = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, *entry.device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in numbers) + path
    return _padded(head) + _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
