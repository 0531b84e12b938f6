"""`tweaks` lists the tweaks of domains, explains one, and shows what they would change in a domain."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from difflib import unified_diff
from typing import TYPE_CHECKING, TextIO

from storpool_addon.cli.table import print_table
from storpool_addon.domain.document import Domain
from storpool_addon.domain.enabled import Enabled, enabled
from storpool_addon.domain.manual import explained
from storpool_addon.domain.tweaking import BUILT_IN, MIGRATE, apply, load
from storpool_addon.errors import UsageError
from storpool_addon.opennebula.vm import Vm
from storpool_addon.opennebula.xml import MAX_DOCUMENT

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from storpool_addon.driver import Driver

NAME = "tweaks"
_TITLES = ("TWEAK", "RUNS ON", "ENABLED", "WHAT FOR")


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare the subcommand and its own."""
    own = commands.add_parser(NAME, help="list, explain and try tweaks of domains").add_subparsers(
        dest="tweaks", required=True, metavar="COMMAND"
    )
    own.add_parser("list", help="what there is, and what is enabled here")
    own.add_parser("explain", help="attributes of a tweak, and what it changes").add_argument("name")
    show = own.add_parser("apply", help="show what the tweaks would change, without deploying")
    show.add_argument("vm", metavar="VM.xml", help="what `onevm show -x` prints")
    show.add_argument(
        "domain", metavar="DOMAIN.xml", help="what oned wrote: /var/lib/one/vms/<id>/deployment.<n>"
    )
    show.add_argument("--enable", metavar="NAME,…", help="these tweaks, and not those that are enabled here")
    show.add_argument("--migrate", action="store_true", help="tweaks of a live migration")


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out the subcommand."""
    if arguments.tweaks == "list":
        print_table([_TITLES, *_rows(driver)], out)
    elif arguments.tweaks == "explain":
        out.write("\n".join(explained(load(arguments.name))) + "\n")
    else:
        out.writelines(_difference(driver, arguments))


def _rows(driver: Driver) -> Iterator[tuple[str, ...]]:
    for when, known in (("deploy", BUILT_IN), ("migrate", MIGRATE)):
        here = _enabled(driver, migrate=when == "migrate")
        names = {each.name for each in here}
        for name in known:
            yield name, when, "yes" if name in names else "-", load(name).doc
        for each in here:
            if each.program:
                yield each.name, when, "yes", f"the site's own: {each.program}"


def _enabled(driver: Driver, *, migrate: bool) -> list[Enabled]:
    directory, config = f"{driver.remotes}/vmm/kvm", driver.config
    if migrate:
        return enabled(f"{directory}/migrate-tweaks.d", config.migrate_tweaks, MIGRATE)
    return enabled(f"{directory}/deploy-tweaks.d", config.deploy_tweaks, BUILT_IN)


def _difference(driver: Driver, arguments: Namespace) -> Iterator[str]:
    """A unified diff with the domain as it is written back, so that only what tweaks do is different."""
    vm = Vm.parse(_read(arguments.vm), arguments.vm)
    domain = Domain.parse(_read(arguments.domain), arguments.domain)
    domain.unify()
    before = domain.write().decode()
    apply(domain, vm, driver.config.for_vm(vm), list(_names(driver, arguments)))
    after = domain.write().decode()
    yield from unified_diff(
        before.splitlines(True), after.splitlines(True), arguments.domain, f"{arguments.domain} (tweaked)"
    )


def _names(driver: Driver, arguments: Namespace) -> Iterator[str]:
    if arguments.enable is not None:
        yield from filter(None, arguments.enable.split(","))
        return
    for each in _enabled(driver, migrate=arguments.migrate):
        if each.program:
            print(f"storpool-addon: {each.program} is the site's own, and is not run here", file=sys.stderr)
        else:
            yield each.name


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
