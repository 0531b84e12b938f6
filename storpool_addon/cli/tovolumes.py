"""`to-volumes` moves disks that are still files in powered-off VMs' directories to volumes."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from storpool_addon.errors import AddonError, StateError, UsageError
from storpool_addon.opennebula.states import VmState
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.tm import tovolumes

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from storpool_addon.driver import Driver

NAME = "to-volumes"


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        NAME, help="move context images and volatile disks that are files of powered-off VMs to volumes"
    )
    parser.add_argument("vms", nargs="*", type=int, metavar="VM_ID", help="ids of powered-off VMs")
    parser.add_argument("--all", action="store_true", help="every powered-off VM of this driver")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be moved")


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out `to-volumes`; StateError at the end when something could not be moved, after all else was."""
    if bool(arguments.vms) == arguments.all:
        raise UsageError(f"{NAME} needs ids of VMs, or --all")
    failed = 0
    for vm in _vms(driver, arguments):
        try:
            for file in tovolumes.files_of(driver, driver.one.vm(vm)):
                out.write(f"{file}\n")
                out.flush()
                if not arguments.dry_run:
                    tovolumes.move(driver, file)
        except AddonError as error:
            failed += 1
            print(f"storpool-addon: VM {vm}: {error}", file=sys.stderr)
    if failed:
        raise StateError(f"{failed} VMs could not be done; the command may be repeated")


def _vms(driver: Driver, arguments: Namespace) -> Iterator[int]:
    if not arguments.all:
        yield from arguments.vms
        return
    for vm in driver.one.vms():
        if _may_have_files(vm):
            yield vm.id


def _may_have_files(vm: Vm) -> bool:
    return vm.state == VmState.POWEROFF and bool(vm.history) and vm.last.tm_mad == TM_MAD
