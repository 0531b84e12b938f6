"""Which tweaks a site has switched on: files in a directory, and a list of the configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from storpool_addon.domain.tweaking import built_in, in_order
from storpool_addon.errors import ConfigError


class Enabled(NamedTuple):
    """A tweak that is switched on. program: the file to run for one that is none of ours, else ""."""

    name: str
    program: str = ""


def enabled(directory: str, configured: Sequence[str], known: Sequence[str]) -> list[Enabled]:
    """The tweaks in their order, which is that of their names but for what others build on.

    directory: an executable file there switches on the tweak of its name, with `.py` or without; under any
    other name it is a tweak itself. configured: names of the list. known: names of ours.
    """
    found: dict[str, Enabled] = {}
    for name in configured:
        tweak = built_in(name, known)
        if not tweak:
            there = ", ".join(known)
            raise ConfigError(
                f"no tweak is named {name[:80]!r}, which is in the configuration; there are: {there}"
            )
        found[tweak] = Enabled(tweak)
    for name in _files(directory, known):
        tweak = built_in(name, known)
        found[tweak or name] = Enabled(tweak) if tweak else Enabled(name, os.path.join(directory, name))
    return [found[name] for name in sorted(found, key=in_order)]


def _files(directory: str, known: Sequence[str]) -> list[str]:
    """Names of the files that count; hidden ones are what editors and installers leave."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(
            f"{directory} cannot be read: {error.strerror}; correct its owner and mode"
        ) from None
    paths = {name: os.path.join(directory, name) for name in names if not name.startswith(".")}
    return [
        name
        for name, path in paths.items()
        if _is_program(path) or (built_in(name, known) and _leads_nowhere(path))
    ]


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _leads_nowhere(path: str) -> bool:
    """A link to an example of the bash addon, which is gone, still says what the site wants."""
    return os.path.islink(path) and not os.path.exists(path)
