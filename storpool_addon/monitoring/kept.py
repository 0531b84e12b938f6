"""What `monitor` takes from what was collected: a template's capacity, and the messages about disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storpool_addon.errors import AddonError, StateError
from storpool_addon.monitoring import cache
from storpool_addon.monitoring.cache import Part
from storpool_addon.monitoring.monitord import Monitord
from storpool_addon.storpool import Api, TemplateStatus

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_MINUTE_S = 60.0
# A round that is late is not a reason to be silent.
GRACE_S = 1800.0


def identity(api: Api) -> str:
    """What tells the API of one cluster from others, without its token."""
    scope = " multicluster" if api.spans_clusters else ""
    return api.endpoint.title + scope


def capacity(driver: Driver, api: Api, template: str) -> TemplateStatus | None:
    """The status of a template as it was collected; None when it has to be asked for, as the log says."""
    title = (cache.SPACE, identity(api))
    part = _part(driver, title)
    if part is None:
        return None
    if not part.is_fresh(driver.config.sp_template_status_minutes * _MINUTE_S):
        driver.log(f"what was collected of {title[1]} is stale ({_age(part)}); StorPool is asked instead")
        return None
    templates = part.content.get("templates")
    return status(templates.get(template) if isinstance(templates, dict) else None, template)


def status(found: Any, template: str) -> TemplateStatus | None:
    """A template's status out of what `packed` made; None for anything else."""
    if (
        not isinstance(found, list)
        or len(found) != 4
        or not all(type(each) in (int, type(None)) for each in found)
    ):
        return None
    size, free, u2, u3 = found
    return TemplateStatus(template, size, free, None, u2, u3)


def held(status: TemplateStatus, alt_stats: bool) -> tuple[int, int, int] | None:
    """Bytes used, all and free, as OpenNebula is told; None when StorPool did not know.

    Used is what is neither: the figures add up also where the space that is kept back is counted as free.
    """
    if status.capacity is None or status.free is None:
        return None
    kept_back = (status.u2 or 0) + (status.u3 or 0) if alt_stats else 0
    # A cluster that is overfull owes some.
    free = max(0, min(status.free + kept_back, status.capacity))
    return status.capacity - free, status.capacity, free


def packed(status: TemplateStatus) -> list[int | None]:
    """A template's status as it is kept."""
    return [status.capacity, status.free, status.u2, status.u3]


def counted(status: TemplateStatus) -> list[int]:
    """Bytes that its volumes and snapshots have, and snapshots that StorPool is still removing."""
    return [status.size, status.removing_snapshots_count]


def send_disks(driver: Driver, datastore_id: int) -> None:
    """Send monitord what was collected of the disks on a system datastore; the log says when that fails."""
    try:
        part = _part(driver, (cache.DISKS, str(datastore_id)))
        if part is None:
            raise StateError("nothing was collected; `storpool-addon collect` has to run (its timer)")
        most_s = driver.config.sp_volume_space_minutes * _MINUTE_S + GRACE_S
        if not part.is_fresh(most_s):
            raise StateError(f"what was collected is stale ({_age(part)})")
        monitord = Monitord.configured(driver.config, driver.environ)
        key = monitord.key()
        if part.content.get("key") != (key.id if key else ""):
            raise StateError("monitord has another key since they were collected; the next round has it")
        messages = part.content.get("messages")
        if not isinstance(messages, list) or not all(type(each) is str for each in messages):
            raise StateError("what was collected has another shape; the next round mends it")
        monitord.send(messages)
    except AddonError as error:
        driver.log(f"sizes of disks on datastore {datastore_id} were not sent: {error}")


def _part(driver: Driver, title: cache.Title) -> Part | None:
    try:
        return cache.read(driver.config.sp_fe_json_path, title).get(title)
    except StateError as error:
        driver.log(str(error))
        return None


def _age(part: Part) -> str:
    age_s = part.age_s()
    return f"{age_s / _MINUTE_S:.0f} minutes old" if age_s >= 0 else "from the future: a clock jumped"
