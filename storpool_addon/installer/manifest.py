"""The record of what an installation put there, kept beside it."""

from __future__ import annotations

import json
from typing import NamedTuple

from storpool_addon.errors import StateError
from storpool_addon.installer.tree import Tree, file


class Manifest(NamedTuple):
    """What was installed.

    files: path -> digests of what we wrote there; more than one while an installation is under way.
    directories: those that we made. replaced: paths where something of others was, kept in a copy.
    release and previous: names of the package's current release and of the one before.
    """

    files: dict[str, list[str]]
    directories: list[str]
    replaced: list[str]
    release: str = ""
    previous: str = ""

    def wrote(self, path: str, digest: str) -> bool:
        """Whether this content of `path` is one that we put there."""
        return digest in self.files.get(path, ())


def load(tree: Tree, path: str) -> Manifest:
    """The record at `path`, an empty one when nothing was installed; StateError when it is damaged."""
    data = tree.read(path)
    if data is None:
        return Manifest({}, [], [])
    try:
        return Manifest(**json.loads(data))
    except (ValueError, TypeError):
        raise StateError(f"{tree.real(path)} is damaged; move it away and run install.py again") from None


def save(tree: Tree, path: str, manifest: Manifest) -> None:
    """Write the record. All else can be compared and mended after a power cut; the record cannot."""
    text = json.dumps(manifest._asdict(), indent=1, sort_keys=True)
    tree.write(file(path, text.encode() + b"\n"), durable=True)
