"""The hook of API calls: a VM or an image was changed, and its volumes follow at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.hooks.reconciling import Reconciler
from storpool_addon.opennebula.apicall import ApiCall
from storpool_addon.opennebula.protocol import protocol

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


@protocol(stdin=("call", ApiCall.parse))
def policies(driver: Driver, call: ApiCall) -> None:
    """Give the object's volumes the policies that it asks for now."""
    if not call.succeeded:
        return
    work = Reconciler(driver, driver.log)
    if call.kind == "vm":
        work.vm(call.object_id)
    else:
        work.image(call.object_id)
    work.finish()
