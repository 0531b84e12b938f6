"""Measures the hot actions: their time and their calls."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Callable

from bench import picture, rows
from bench.cases import Case
from bench.limits import Counts
from bench.rows import Row
from bench.world import Failed, World

OTHERS = 100


def crowd(world: World) -> None:
    """Volumes of others."""
    for number in range(OTHERS):
        body = {"name": f"other-{number}", "size": 1 << 20, "template": "one-ds-101"}
        world.lab.storpool("VolumeCreate", body)


def measure(world: World, cases: Sequence[Case], rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Rows of the bare interpreter and of each case: times of interleaved rounds, counts of one run."""
    before = picture.take(world.lab)
    counts = {}
    for case in cases:
        counts[case.name] = count(world, case)
        picture.restore(world.lab, before)
    bare_ms: list[float] = []
    taken_ms: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        bare_ms.append(world.bare().ms)
        for case in cases:
            taken_ms[case.name].append(world.script(case.command).ms)
            picture.restore(world.lab, before)
    bare = statistics.median(bare_ms)
    found = [rows.action(name, taken, bare, counts[name]) for name, taken in taken_ms.items()]
    return [rows.bare(bare_ms), *found]


def count(world: World, case: Case) -> Counts:
    """What one run does outside itself, as the lab's conductor sees it."""
    result = world.lab.run(case.command)
    if result.exit_code:
        raise Failed(f"{case.command}: exit code {result.exit_code}: {result.stderr.strip()}")
    return Counts.of(result.calls)
