"""`policies` gives volumes the tags `vc-policy` and `qc` that their VMs, images and datastores ask for."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, TextIO

from storpool_addon.datastore import leader
from storpool_addon.errors import AddonError, StateError
from storpool_addon.hooks.reconciling import LOCK, Reconciler
from storpool_addon.monitoring import cache

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from storpool_addon.driver import Driver

NAME = "policies"


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare the subcommand."""
    own = commands.add_parser(
        NAME, help="give all volumes the VolumeCare policy and QoS class they should have"
    )
    one = own.add_mutually_exclusive_group()
    one.add_argument("--vm", type=int, metavar="ID", help="only the volumes of this VM")
    one.add_argument("--image", type=int, metavar="ID", help="only this image and its snapshots")
    own.add_argument("--leader-only", action="store_true", help="do nothing where another front-end leads")
    own.add_argument("--dry-run", action="store_true", help="only say what would be changed")


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out the subcommand; StateError at the end when something could not be done."""

    def say(line: str) -> None:
        driver.log(line)
        out.write(f"{line}\n")
        out.flush()

    if arguments.leader_only and not leader.is_here(driver):
        say("another front-end leads, which sets policies")
        return
    work = Reconciler(driver, say, act=not arguments.dry_run)
    if arguments.vm is not None:
        work.vm(arguments.vm)
    elif arguments.image is not None:
        work.image(arguments.image)
    else:
        with driver.exclusive(LOCK):
            _everything(driver, work)
    say(f"{work.changed} volumes {'would be' if arguments.dry_run else 'were'} changed")
    for trouble in work.troubles:
        driver.log(trouble)
        print(f"storpool-addon: {trouble}", file=sys.stderr)
    if work.troubles:
        raise StateError(f"troubles: {len(work.troubles)}; all else was looked at")


def _everything(driver: Driver, work: Reconciler) -> None:
    """All volumes, and what came of it for `storpool-addon exporter`, whose business fails nothing."""
    began = time.monotonic()
    work.everything()
    if not work.act:
        return
    found = {
        "changed": work.changed,
        "troubles": len(work.troubles),
        "took_s": round(time.monotonic() - began, 3),
    }
    tags = [[*key, count] for key, count in work.tags.items()]
    directory = driver.config.sp_fe_json_path
    try:
        cache.prepare(directory)
        parts = {cache.LAST: cache.Part.now(**found, tags=tags)}
        cache.write(directory, parts, name=cache.POLICIES)
    except AddonError as error:
        driver.log(str(error))
