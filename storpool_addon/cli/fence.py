"""`fence` cuts a lost host off from all volumes of ours, and says whether StorPool confirms it."""

from __future__ import annotations

import json
import os
import pwd
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from storpool_addon.errors import StateError, UsageError
from storpool_addon.hooks import chronicle, examining, fencing
from storpool_addon.hooks.examining import Look
from storpool_addon.hooks.fencing import Outcome

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from storpool_addon.driver import Driver
    from storpool_addon.hooks.cutting import Cut, Found

NAME = "fence"
_PROOFS = {
    "down": "StorPool counts it as down",
    "applied": "it is up and has followed",
    "": "not confirmed",
}


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare the subcommand."""
    own = commands.add_parser(NAME, help="cut a lost host off from its volumes, and prove that it is")
    own.add_argument("host", metavar="HOST", help="name or id in OpenNebula")
    own.add_argument("--dry-run", action="store_true", help="only say what would be detached")
    own.add_argument("--lift", action="store_true", help="the host is well again: let it have volumes")
    own.add_argument("--json", action="store_true", help="print JSON")


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out the subcommand; StateError when it is refused, or not confirmed."""
    check_user(os.path.dirname(driver.remotes), driver.home)
    host = fencing.find_host(driver, arguments.host)
    who = chronicle.who(driver)
    with driver.exclusive(f"fence-host-{host.id}"):
        if arguments.lift:
            if arguments.dry_run or arguments.json:
                raise UsageError("--lift stands alone")
            fencing.lift(driver, host, who)
            out.write(f"host {host.name} may have volumes again\n")
            return
        seen = examining.look(driver, host)
        for note in seen.notes():
            print(f"storpool-addon: {note}", file=sys.stderr)
        if arguments.dry_run:
            _print(_would(seen), _record(seen), arguments.json, out)
            if seen.refusal:
                raise StateError(seen.refusal)
            return
        outcome = fencing.fence(driver, seen, who)
    _print(_did(outcome), _record(seen, outcome), arguments.json, out)
    outcome.check()


def check_user(directory: str, home: str) -> None:
    """UsageError for anybody but oned's user: the marks have to be where oned's actions look for them.

    directory: oned's own, which belongs to that user. home: where this process would put them.
    """
    owner = os.stat(directory).st_uid
    if owner != os.geteuid() or not os.path.isdir(home) or os.stat(home).st_uid != owner:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        raise UsageError(f"only {name} can fence a host: sudo -H -u {name} storpool-addon {NAME} …")


def _print(lines: Iterator[str], record: dict[str, object], as_json: bool, out: TextIO) -> None:
    out.write(json.dumps(record, indent=2) + "\n" if as_json else "".join(f"{line}\n" for line in lines))
    out.flush()


def _would(seen: Look) -> Iterator[str]:
    yield f"host {seen.host.name}: {seen.answers}"
    for cut in seen.cuts:
        ours = _ours(seen, cut)
        yield f"{cut} is {cut.state()[0]}: {len(ours)} volumes would be detached"
        yield from (f"  {each.name} ({each.rights})" for each in ours)


def _did(outcome: Outcome) -> Iterator[str]:
    for cut in outcome.look.cuts:
        yield f"{cut}: {len(cut.detached)} volumes were detached; {_PROOFS[cut.proof]}"
        yield from (f"  {name}" for name in cut.detached)
    if outcome.confirmed:
        yield f"host {outcome.look.host.name} is cut off, fenced since {outcome.since}"


def _record(seen: Look, outcome: Outcome | None = None) -> dict[str, object]:
    return {
        "host": seen.host.name,
        "id": seen.host.id,
        "answers": seen.answers,
        "refusal": seen.refusal,
        "since": outcome.since if outcome else "",
        "confirmed": bool(outcome and outcome.confirmed),
        "troubles": list(outcome.troubles) if outcome else [],
        "notes": list(seen.notes()),
        "clients": [
            {
                "client": int(cut.client),
                "api": cut.title,
                "volumes": [each.name for each in _ours(seen, cut)],
                "detached": cut.detached,
                "proof": cut.proof,
            }
            for cut in seen.cuts
        ],
    }


def _ours(seen: Look, cut: Cut) -> list[Found]:
    return [each for each in seen.attached[str(cut)] if each.ours]
