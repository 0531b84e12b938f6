"""The simulated cluster's memory: a file of one JSON line per change, replayed at start."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

# A change as it is written: [type, fields] for a record that is put, [type, null, key] for one dropped.
Entry = list[Any]
Line = tuple[int, list[Entry]]


class Journal:
    """Lines are handed to the kernel whole, so that killing the process loses nothing acknowledged.

    There is no fsync: a crash of the machine is not simulated.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  open for the life of the cluster

    def lines(self) -> Iterator[Line]:
        """Every whole line, oldest first; a torn last one was never acknowledged and is cut off."""
        whole = 0
        with open(self.path, "rb") as source:
            for raw in source:
                if not raw.endswith(b"\n"):
                    break
                whole += len(raw)
                generation, entries = json.loads(raw)
                yield generation, entries
        if whole < os.path.getsize(self.path):
            os.truncate(self.path, whole)

    def write(self, generation: int, entries: list[Entry]) -> None:
        """Append one line."""
        self._file.write(_line(generation, entries))

    def rewrite(self, generation: int, entries: Iterable[Entry]) -> None:
        """Replace the whole file by the present state, in one step."""
        fresh = f"{self.path}.new"
        with open(fresh, "wb") as target:
            for entry in entries:
                target.write(_line(generation, [entry]))
        os.replace(fresh, self.path)
        self._file.close()
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _line(generation: int, entries: list[Entry]) -> bytes:
    return json.dumps([generation, entries], separators=(",", ":")).encode() + b"\n"
