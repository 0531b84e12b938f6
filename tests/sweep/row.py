"""One row of the sweep's table: an action, the world before it, and what may be said about a failed run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

import pytest

from storpool_addon.lab.command import Command
from tests.programs import needs
from tests.sweep.ground import Ground


class Row(NamedTuple):
    """An action.

    prepare: furnishes a new world without running a script, and gives the command line that oned would run.
    undoes: a failed run leaves the world as it was. The others only go forward: what a failed run has done
    stays, is ours by name and tags, and the next run goes on from there.
    migration: two hosts may have a volume for writing.
    needs: the program that the row cannot do without.
    settings: the site's configuration.
    sets_aside: each run keeps what it replaces, a repeated one too: StorPool deletes it by itself.
    forgives: the action succeeds when it cannot clean up; what it leaves is what a further run takes away.
    spares_dead_hosts: the action succeeds when a host cannot be reached, and leaves that host's files.
    """

    name: str
    prepare: Callable[[Ground], Command]
    undoes: bool = True
    migration: bool = False
    spares_dead_hosts: bool = False
    forgives: bool = False
    sets_aside: bool = False
    settings: Mapping[str, object] = {}
    needs: str = ""

    @property
    def case(self) -> Any:
        """The row as one case of a test that is given its name; skipped where its program is missing."""
        return pytest.param(self.name, marks=needs(self.needs) if self.needs else ())
