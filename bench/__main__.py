"""python -m bench: measures, prints the table, writes bench/results.json."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator

from bench import (
    actions,
    backups,
    cases,
    collecting,
    deploying,
    exporter,
    frozen,
    growth,
    images,
    monitoring,
    policies,
    rows,
    scale,
    tweaks,
)
from bench.rows import Row
from bench.world import CHECKOUT, Failed, World, world
from storpool_addon.lab import programs
from storpool_addon.lab.command import StepFailed
from storpool_addon.lab.hosts import NoHosts

RESULTS = os.path.join(CHECKOUT, "bench", "results.json")
ROUNDS = 15


def main(argv: list[str] | None = None) -> int:
    """0; 1 when something did not work or a count is over its limit. A time over its limit is only marked."""
    given = _arguments(argv)
    try:
        measured = list(_rows(given.rounds, given.only))
    except (Failed, StepFailed, NoHosts) as error:
        _say(f"bench: {error}")
        return 1
    _say("")
    print(rows.table(measured))
    if not given.only:
        rows.write(RESULTS, measured)
    return 1 if any(row.is_failure for row in measured) else 0


def _rows(rounds: int, only: str) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="storpool-addon-bench-") as directory:
        # Whoever plays the front-end's user goes through it.
        os.chmod(directory, 0o755)
        with world(os.path.join(directory, "world")) as built:
            actions.crowd(built)
            yield from _of_actions(built, rounds, only)
            chosen = tuple(image for image in images.IMAGES if only in image.row_name)
            yield from images.measure(built, chosen, _say)
            yield from backups.measure(built, only, _say)
            yield from frozen.measure(built, only, _say)
            yield from deploying.measure(built, rounds, only, _say)
            yield from monitoring.measure_monitor(built, rounds, only, _say)
        yield from growth.measure(os.path.join(directory, "growth"), only, _say)
        yield from tweaks.measure(rounds, only)
        yield from monitoring.measure(only)
        yield from collecting.measure(os.path.join(directory, "collecting"), only, _say)
        yield from policies.measure(only)
        yield from exporter.measure(only)
        if only in scale.NAME:
            _say("loading a large cluster")
            yield from scale.measure(os.path.join(directory, "large"))


def _of_actions(built: World, rounds: int, only: str) -> Iterator[Row]:
    _say("preparing")
    chosen = cases.prepare(built.lab, only)
    if only in cases.CONTEXT and cases.CONTEXT not in [case.name for case in chosen]:
        _say(f"no {programs.ISO_BUILDERS[0]} here: {cases.CONTEXT} is not measured")
    if chosen:
        yield from actions.measure(built, chosen, rounds, _say)


def _say(text: str) -> None:
    """One line on a terminal that the next one replaces; many lines in a log."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
    elif text and not text.startswith("round"):
        print(text, file=sys.stderr)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the hot actions (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with TEXT in their name; no results")
    given = parser.parse_args(argv)
    names = [*(kind.name for kind in cases.KINDS), *(image.row_name for image in images.IMAGES), scale.NAME]
    names += [*backups.NAMES, frozen.NAME, deploying.NAME, tweaks.NAME, *monitoring.NAMES, policies.NAME]
    names += [*collecting.NAMES, exporter.NAME]
    names += map(growth.name_of, growth.ACTIONS)
    if not any(given.only in name for name in names):
        parser.error(f"--only {given.only}: there is no such row among {', '.join(names)}")
    return given


if __name__ == "__main__":
    sys.exit(main())
