"""`reserved` says what hosts keep from their VMs, for StorPool, and tells OpenNebula."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TextIO

from storpool_addon.cli.table import print_table
from storpool_addon.errors import AddonError, OpenNebulaRefused, StateError, UsageError
from storpool_addon.hosts import resources
from storpool_addon.hosts.reserved import Reserved, reserved
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.states import HostState
from storpool_addon.restoring.parallel import each_at_once

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from storpool_addon.driver import Driver

NAME = "reserved"
_AT_ONCE = 16
_TITLES = ("HOST", "CPUS", "FOR VMS", "RESERVED", "MEMORY", "FOR VMS", "RESERVED", "KERNEL", "NOTES")


class Told(NamedTuple):
    """A host and what is reserved there, or why that cannot be told."""

    host: Host
    found: Reserved | None
    error: str
    attributes: dict[str, str]

    @property
    def changes(self) -> dict[str, str]:
        """What OpenNebula has not, or has otherwise; an empty value is the same as none."""
        now = self.host.attributes
        return {name: value for name, value in self.attributes.items() if now.get(name, "") != value}

    def row(self) -> tuple[str, ...]:
        """Cells for a person."""
        if self.found is None:
            return (self.host.name, *["-"] * 7, self.error)
        found, mine = self.found, self.attributes
        return (
            self.host.name,
            str(found.cpus),
            "-" if found.usable_cpus is None else str(len(found.usable_cpus)),
            mine.get("RESERVED_CPU", "-"),
            _gib(found.memory),
            _gib(found.usable_kib),
            _gib(None if found.usable_kib is None else found.memory - found.usable_kib),
            _gib(found.kernel or None),
            "; ".join(found.notes),
        )

    def record(self) -> dict[str, object]:
        """For programs."""
        if self.found is None:
            return {"host": self.host.name, "error": self.error}
        return {
            "host": self.host.name,
            "reserved": self.attributes,
            "changes": self.changes,
            "cpus": {"all": self.found.cpus, "outside": list(self.found.outside)},
            "memory_kib": {
                "all": self.found.memory,
                "usable": self.found.usable_kib,
                "kernel": self.found.kernel,
            },
            "notes": list(self.found.notes),
        }


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(NAME, help="what hosts keep from their VMs: template lines of the hosts")
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME", help="this host; may come again"
    )
    parser.add_argument("--all", action="store_true", help="every host that is not offline")
    parser.add_argument("--apply", action="store_true", help="show what differs in OpenNebula, and change it")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--table", action="store_true", help="print a table")


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out `reserved`; StateError at the end when something failed, after all else was done."""
    if bool(arguments.host) == arguments.all:
        raise UsageError(f"{NAME} needs --host NAME, or --all")
    hosts, unknown = _chosen(driver, arguments)
    told = _ask(driver, hosts)
    failed = [*unknown, *(each.host.name for each in told if each.found is None)]
    for each in told:
        for note in [each.error] if each.error else each.found.notes if each.found else ():
            print(f"storpool-addon: host {each.host.name}: {note}", file=sys.stderr)
    if arguments.json:
        out.write(json.dumps([each.record() for each in told], indent=2) + "\n")
    elif arguments.table:
        print_table([_TITLES, *(each.row() for each in told)], out)
    elif not arguments.apply:
        out.writelines(_lines(told))
    if arguments.apply:
        failed += _apply(driver, told, sys.stderr if arguments.json else out)
    if failed:
        raise StateError(f"not done: {', '.join(failed)}; the command may be repeated")


def _chosen(driver: Driver, arguments: Namespace) -> tuple[list[Host], list[str]]:
    """The hosts, and names that OpenNebula does not know."""
    known = driver.one.hosts()
    if not arguments.all:
        names = list(dict.fromkeys(arguments.host))
        unknown = [name for name in names if name not in {each.name for each in known}]
        for name in unknown:
            print(f"storpool-addon: host {name}: OpenNebula knows no such host", file=sys.stderr)
        return [each for each in known if each.name in names], unknown
    for each in known:
        if each.state == HostState.OFFLINE:
            print(f"storpool-addon: host {each.name}: offline, left out", file=sys.stderr)
    return [each for each in known if each.state != HostState.OFFLINE], []


def _ask(driver: Driver, hosts: list[Host]) -> list[Told]:
    """All hosts at once; one that does not answer costs the others nothing."""
    slice_name, skip_cpu = driver.config.cgroup, driver.config.skip_reserved_cpu
    told: dict[int, Told] = {}

    def ask(host: Host) -> None:
        try:
            facts = resources.read(driver.hosts.on(host.name), slice_name)
            found = reserved(facts, pinned=host.attributes.get("PIN_POLICY", "").upper() == "PINNED")
            told[host.id] = Told(host, found, "", found.attributes(skip_cpu=skip_cpu))
        except AddonError as error:
            told[host.id] = Told(host, None, str(error), {})

    each_at_once(driver.processes, [partial(ask, host) for host in hosts], _AT_ONCE)
    return [told[host.id] for host in hosts]


def _lines(told: list[Told]) -> Iterator[str]:
    """What `onehost update --append` takes."""
    for each in told:
        if each.found:
            yield f"# {each.host.name}\n"
            yield from (f'{name}="{value}"\n' for name, value in each.attributes.items())


def _apply(driver: Driver, told: list[Told], out: TextIO) -> list[str]:
    """Show what differs and change it; the names of hosts for which OpenNebula refused."""
    refused = []
    for each in told:
        changes, host = each.changes, each.host
        if not changes:
            continue
        out.write(f"--- {host.name}\n+++ {host.name} (reserved)\n")
        for name, value in changes.items():
            if name in host.attributes:
                out.write(f'-{name}="{host.attributes[name]}"\n')
            out.write(f'+{name}="{value}"\n')
        out.flush()
        try:
            driver.one.update("host", host.id, changes)
        except OpenNebulaRefused as error:
            refused.append(host.name)
            print(f"storpool-addon: host {host.name}: {error}", file=sys.stderr)
    return refused


def _gib(kib: int | None) -> str:
    return "-" if kib is None else f"{kib / (1 << 20):.1f} GiB"
