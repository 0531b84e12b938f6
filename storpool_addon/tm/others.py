"""The other transfer managers that keep disks of a VM: they are told of its live migration.

The driver of the VM's directory tells those of its disks, as migrate_other of OpenNebula's tm_common.sh does:
the same words and document, and its own name as a sixth word, which says that the directory is not theirs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import AddonError, StateError, ToolError
from storpool_addon.opennebula.vm import TM_MAD, Disk, Vm
from storpool_addon.undo import Undo

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

TIMEOUT_S = 3600.0
# It becomes a part of a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)


class Migration(NamedTuple):
    """A live migration in the words of oned. document: of the VM, as it came on standard input.

    caller: the driver of the VM's directory when that is not this one; it tells the others as well.
    """

    vm: Vm
    source: str
    target: str
    directory: str
    datastore_id: int
    document: bytes
    caller: str | None

    @property
    def words(self) -> list[str]:
        """The arguments of another's script."""
        vm, datastore = str(self.vm.id), str(self.datastore_id)
        return [self.source, self.target, self.directory, vm, datastore, TM_MAD]


def refuse_strangers(driver: Driver, vm: Vm) -> None:
    """StateError for a disk of a driver that SYSTEM_COMPATIBLE_DS does not name.

    It may keep the disk as a file in the VM's directory, which is copied while the guest writes to it. And
    its premigrate may take that directory for its own, as OpenNebula's tm/ssh does, and remove it there.
    """
    for disk in _disks(vm):
        if disk.tm_mad not in driver.config.system_compatible_ds:
            raise StateError(
                f"disk {disk.disk_id} of VM {vm.id} is of transfer manager {disk.tm_mad}, which is not in"
                " SYSTEM_COMPATIBLE_DS: migrate the VM powered off, or add it there if all hosts reach its"
                " disks and its premigrate leaves the VM's directory alone"
            )


def prepare(driver: Driver, migration: Migration, undo: Undo) -> None:
    """premigrate of the others: the migration must not begin when one of them cannot follow."""
    for name in _names(driver, migration.vm):
        undo.add(f"tell {name} of the failure", _tell, driver, name, "failmigrate", migration)
        _run(driver, name, "premigrate", migration)


@contextmanager
def told(driver: Driver, action: str, migration: Migration) -> Iterator[None]:
    """Tell the others once our part is done, or has failed; what they then fail to do is in the log."""
    try:
        yield
    except AddonError:
        _tell_all(driver, action, migration)
        raise
    _tell_all(driver, action, migration)


def _tell_all(driver: Driver, action: str, migration: Migration) -> None:
    for name in _names(driver, migration.vm) if migration.caller is None else ():
        _tell(driver, name, action, migration)


def _tell(driver: Driver, name: str, action: str, migration: Migration) -> None:
    try:
        _run(driver, name, action, migration)
    except AddonError as error:
        driver.log(str(error))


def _run(driver: Driver, name: str, action: str, migration: Migration) -> None:
    home = f"{driver.remotes}/tm"
    directory = f"{home}/{name}"
    if not _NAME.fullmatch(name) or not os.path.isdir(directory):
        raise ToolError(
            f"VM {migration.vm.id} has a disk of transfer manager {name!r}, which is not in {home}"
        )
    script = f"{directory}/{action}"
    if not os.access(script, os.X_OK):
        driver.log(f"transfer manager {name} has no {action}")
        return
    what = f"{action} of transfer manager {name} for VM {migration.vm.id}"
    driver.processes.run([script, *migration.words], what=what, timeout_s=TIMEOUT_S, stdin=migration.document)


def _names(driver: Driver, vm: Vm) -> list[str]:
    found = dict.fromkeys(disk.tm_mad for disk in _disks(vm))
    return [name for name in found if name in driver.config.system_compatible_ds]


def _disks(vm: Vm) -> list[Disk]:
    return [disk for disk in vm.disks if vm.tm_mad_of(disk) not in ("", TM_MAD)]
