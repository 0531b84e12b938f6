"""The image that an action is about, as oned names it twice: in its argument and in its document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import UsageError

if TYPE_CHECKING:
    from storpool_addon.config import Config
    from storpool_addon.opennebula.action import DatastoreAction
    from storpool_addon.opennebula.image import Image

FORMAT = "raw"


def image_of(action: DatastoreAction, image_id: int) -> Image:
    """The image; UsageError when argument and document are about two different ones."""
    image = action.the_image
    if image.id != image_id:
        raise UsageError(f"the argument is {image_id}, but standard input is about image {image.id}")
    return image


def source_of(config: Config, action: DatastoreAction) -> str:
    """What oned is to keep as the image's SOURCE."""
    return names.source(config.one_px, action.datastore.id, action.the_image.id)
