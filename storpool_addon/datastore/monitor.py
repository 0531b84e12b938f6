"""How much a datastore holds and may still hold, and what the disks of the VMs on it take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import StateError, StorPoolNonsense
from storpool_addon.monitoring import kept
from storpool_addon.opennebula.action import DatastoreAction
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.units import bytes_to_mib_down

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.storpool import Api, TemplateStatus


@protocol(datastore_id=number, stdin=("action", DatastoreAction.parse))
def monitor(driver: Driver, datastore_id: int, action: DatastoreAction) -> str:
    """USED_MB, TOTAL_MB and FREE_MB of a datastore; to monitord the disks of VMs, if oned wants them."""
    figures = usage(driver, action.datastore)
    if action.monitor_vm_disks and action.datastore.is_system:
        kept.send_disks(driver, datastore_id)
    return figures


def usage(driver: Driver, datastore: Datastore) -> str:
    """USED_MB, TOTAL_MB and FREE_MB as oned reads them, from the status of the datastore's template.

    What is not known is an error, never a zero: oned keeps what it knew before.
    """
    config = driver.config.for_datastore(datastore)
    name = names.template(config.one_px, datastore.id)
    api = driver.storpool(datastore)
    status = kept.capacity(driver, api, name)
    held = kept.held(status, config.alt_stats) if status else None
    if held is None:
        held = kept.held(_asked(api, name, datastore), config.alt_stats)
    if held is None:
        raise StateError(f"StorPool does not know the space of template {name} now; it will be asked again")
    return _lines(*held)


def _asked(api: Api, name: str, datastore: Datastore) -> TemplateStatus:
    odd: list[StorPoolNonsense] = []
    for each in api.volume_templates_status(odd.append):
        if each.name == name:
            return each
    # It may be among those.
    for error in odd:
        raise error
    raise StateError(f"StorPool has no template {name}; create it for datastore {datastore.id}")


def _lines(used: int, total: int, free: int) -> str:
    figures = {"USED_MB": used, "TOTAL_MB": total, "FREE_MB": free}
    return "\n".join(f"{key}={bytes_to_mib_down(value)}" for key, value in figures.items())
