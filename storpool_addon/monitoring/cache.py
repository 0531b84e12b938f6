"""What was collected, in one file on the front-end: a line of JSON for each part, written in one step."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from storpool_addon.errors import StateError

# What was collected, and what the last run of `policies` found.
NAME, POLICIES = "collected.jsonl", "policies.jsonl"
_FORMAT = 1
# A part from the future is no older than this, or a clock jumped.
_CLOCKS_S = 60.0
_MOST_BYTES = 256 << 20
# Kinds of parts: capacity of the templates of an API, sizes of the disks of a system datastore, what an API
# has of ours, and when disks were collected, or how the last round went.
SPACE, DISKS, CENSUS, ROUND = "space", "disks", "census", "round"
# Kind and what it is of: the API's addresses, or the id of a datastore.
Title = tuple[str, str]
# How the last round, or run, went.
LAST: Title = (ROUND, "last")


class Part(NamedTuple):
    """asked: when StorPool was asked, in seconds since 1970. content: whatever the kind has."""

    asked: float
    content: Mapping[str, Any]

    @classmethod
    def now(cls, **content: Any) -> Part:
        """A part of this moment."""
        return cls(time.time(), content)

    def age_s(self) -> float:
        """How old it is."""
        return time.time() - self.asked

    def is_fresh(self, most_s: float) -> bool:
        """Whether it is not older than that, and not from the future."""
        return -_CLOCKS_S <= self.age_s() <= most_s


def prepare(directory: str) -> None:
    """Have the directory; StateError when it cannot be made."""
    try:
        os.makedirs(directory, mode=0o750, exist_ok=True)
    except OSError as error:
        raise StateError(f"{directory} (SP_FE_JSON_PATH) cannot be made: {error.strerror}") from None


def write(directory: str, parts: Mapping[Title, Part], *, name: str = NAME) -> None:
    """Have these parts and no others there; StateError when the directory cannot be written."""
    path = os.path.join(directory, name)
    try:
        with open(_new(f"{path}.new"), "w", encoding="utf-8") as file:
            file.write(json.dumps({"format": _FORMAT}) + "\n")
            for title, part in parts.items():
                file.write(_head(title) + json.dumps([part.asked, part.content]) + "\n")
            file.write(json.dumps({"end": len(parts)}) + "\n")
        os.replace(f"{path}.new", path)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}") from None


def read(
    directory: str, wanted: Title | None = None, *, without: str = "", name: str = NAME
) -> dict[Title, Part]:
    """The part of that title, or all; none when nothing was collected yet.

    without: a kind whose parts are left out. StateError for a file that is not whole, or that another user
    may have written.
    """
    path = os.path.join(directory, name)
    try:
        with open(path, "rb", opener=_to_read) as file:
            return dict(_parts(path, file.read().splitlines(), wanted, without))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None


def _parts(path: str, lines: list[bytes], wanted: Title | None, without: str) -> Iterator[tuple[Title, Part]]:
    try:
        if json.loads(lines[0]) != {"format": _FORMAT} or json.loads(lines[-1]) != {"end": len(lines) - 2}:
            raise ValueError("another format, or half of it")
        head = _head(wanted).encode() if wanted else b""
        other = f"{json.dumps([without])[:-1]}, ".encode() if without else b"\n"
        for line in lines[1:-1]:
            # A long line about something else is not even decoded.
            if line.startswith(head) and not line.startswith(other):
                title, _, rest = line.partition(b"\t")
                asked, content = json.loads(rest)
                kind, of = json.loads(title)
                yield (str(kind), str(of)), Part(float(asked), dict(content))
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError):
        raise StateError(f"{path} is not whole; its next round or run writes it anew") from None


def _head(title: Title) -> str:
    return json.dumps(title) + "\t"


def _new(path: str) -> int:
    """The file that becomes the new one; what a killed run of anybody has left there goes."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)


def _to_read(path: str, _: int) -> int:
    """A pipe in its place would be waited for without O_NONBLOCK."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _check(path, os.fstat(descriptor))
    except StateError:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
        raise StateError(f"{path} is not a file of this driver; remove it")
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
        raise StateError(f"{path} could be written by others and is not read; remove it")
