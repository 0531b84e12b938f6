"""`collect` asks all clusters for capacity and the sizes of disks, for `monitor` to take."""

from __future__ import annotations

import random
import sys
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, TextIO

from storpool_addon import locks
from storpool_addon.datastore import leader
from storpool_addon.datastore.collecting import Round
from storpool_addon.driver import Driver, home_of
from storpool_addon.errors import AddonError, StateError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

NAME = "collect"
EVERY_S = 240.0


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare the subcommand."""
    own = commands.add_parser(NAME, help="collect capacity and sizes of disks for `monitor`")
    own.add_argument("--loop", action="store_true", help="do not end; a round every --every seconds")
    own.add_argument("--every", type=_seconds, default=EVERY_S, metavar="S", help="(%(default)g)")
    own.add_argument(
        "--jitter",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="wait up to so long before a round, by chance",
    )
    own.add_argument(
        "--disks", action="store_true", help="sizes of disks too, even when they are not due yet"
    )


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out the subcommand."""
    while True:
        time.sleep(random.uniform(0.0, arguments.jitter))
        began, exit_code = time.monotonic(), 0
        try:
            # What is configured, and what oned knows, may have changed since the last round.
            with Driver(driver.environ, driver.log, driver.tally) as fresh:
                _round(fresh, arguments.disks, out)
        except AddonError as error:
            if not arguments.loop:
                raise
            exit_code = error.exit_code
            driver.log(str(error))
            print(f"storpool-addon: {error}", file=sys.stderr)
        if not arguments.loop:
            return
        driver.tally.write(home_of(driver.environ), f"cli/{NAME}", exit_code, time.monotonic() - began)
        time.sleep(max(1.0, arguments.every - (time.monotonic() - began)))


def _round(driver: Driver, disks: bool, out: TextIO) -> None:
    if not leader.is_here(driver):
        _say(driver, "another front-end leads, which collects", out)
        return
    try:
        with driver.exclusive(NAME, timeout_s=0.0):
            work = Round(driver, disks=disks)
            _say(driver, str(work.run()), out)
    except locks.Busy as error:
        _say(driver, str(error), out)
        return
    for trouble in work.troubles:
        driver.log(trouble)
        print(f"storpool-addon: {trouble}", file=sys.stderr)
    if work.troubles:
        raise StateError(f"{len(work.troubles)} troubles; all else was collected")


def _say(driver: Driver, text: str, out: TextIO) -> None:
    driver.log(text)
    out.write(f"{text}\n")
    out.flush()


def _seconds(word: str) -> float:
    value = float(word)
    if not 0 <= value <= 86400:
        raise ValueError(word)
    return value
