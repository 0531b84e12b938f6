"""The administrator's command: `storpool-addon`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from storpool_addon import __version__
from storpool_addon.cli import collect, deleted, exporter, fence, policies, reserved, tovolumes, tweaks
from storpool_addon.driver import Driver, home_of
from storpool_addon.errors import BUG, AddonError
from storpool_addon.log import Log
from storpool_addon.simulator.command import add_arguments as simulator_arguments
from storpool_addon.simulator.command import run as simulate
from storpool_addon.tally import Tally

_COMMANDS = {
    collect.NAME: collect.run,
    exporter.NAME: exporter.run,
    fence.NAME: fence.run,
    policies.NAME: policies.run,
    reserved.NAME: reserved.run,
    tovolumes.NAME: tovolumes.run,
    tweaks.NAME: tweaks.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and give its exit code: 0, 1 expected failure, 2 usage."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "simulate":
        return simulate(arguments)
    tally, status = Tally(), BUG
    try:
        status = _carry_out(arguments, tally)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
        raise
    finally:
        tally.write(home_of(os.environ), f"cli/{arguments.command}", status)
    return status


def _carry_out(arguments: argparse.Namespace, tally: Tally) -> int:
    log = Log.for_script("storpool-addon", os.environ)
    try:
        with Driver(os.environ, log, tally) as driver:
            _COMMANDS.get(arguments.command, deleted.run)(driver, arguments, sys.stdout)
            sys.stdout.flush()
    except AddonError as error:
        print(f"storpool-addon: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Who read it has seen enough; the interpreter's own flush at the end must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="storpool-addon", description="StorPool driver of OpenNebula")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    simulator_arguments(commands.add_parser("simulate", help="serve a simulated StorPool cluster"))
    deleted.add_arguments(commands)
    reserved.add_arguments(commands)
    tovolumes.add_arguments(commands)
    tweaks.add_arguments(commands)
    policies.add_arguments(commands)
    fence.add_arguments(commands)
    collect.add_arguments(commands)
    exporter.add_arguments(commands)
    return parser
