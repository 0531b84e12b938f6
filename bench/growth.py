"""Counts the calls of every action in a small and in a large cluster: the actions are the sweep's table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Callable

from bench.limits import Counts
from bench.rows import Row
from bench.world import Failed, install
from storpool_addon.lab.programs import is_there
from tests.sweep import datastore_rows, scene, transfer_rows
from tests.sweep.ground import Ground
from tests.sweep.row import Row as Action

SMALL, LARGE = 100, 100_000
ACTIONS = (*transfer_rows.ROWS, *datastore_rows.ROWS)


def name_of(action: Action) -> str:
    """What the action is called among the results."""
    return f"growth/{action.name}"


def measure(directory: str, only: str, say: Callable[[str], None]) -> Iterator[Row]:
    """A row for each action whose program is here."""
    chosen = [each for each in ACTIONS if only in name_of(each) and (not each.needs or is_there(each.needs))]
    if not chosen:
        return
    os.makedirs(directory)
    with Ground(directory, install(os.path.join(directory, "tree"))) as lab:
        lab.crowd(SMALL)
        few = list(_counted(lab, chosen, say))
        lab.crowd(LARGE)
        yield from map(_row, chosen, few, _counted(lab, chosen, say))


def _counted(lab: Ground, chosen: Iterable[Action], say: Callable[[str], None]) -> Iterator[Counts]:
    for action in chosen:
        say(f"{action.name} among {lab.crowded} volumes")
        lab.clear()
        scene.neighbours(lab)
        command = action.prepare(lab)
        lab.configure(**action.settings)
        result = lab.run(command)
        if result.exit_code:
            raise Failed(f"{command}: exit code {result.exit_code}: {result.stderr.strip()}")
        yield Counts.of(result.calls)


def _row(action: Action, few: Counts, many: Counts) -> Row:
    fields = {f"api_at_{SMALL}_volumes": few.api, f"api_at_{LARGE}_volumes": many.api}
    return Row({"name": name_of(action), **fields}, ("changed",) if few != many else ())
