"""video: the guest's video card."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert, remove
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Replace the model of the first video card, which is made when there is none."""
    wish = config.t_video_model
    if not wish:
        return
    video = domain.find("devices/video")
    if video is None:
        video = insert(domain.ensure("devices"), "video")
    for old in video.findall("model"):
        remove(old)
    model = insert(video, "model", "", 0, **wish.model)
    if wish.acceleration:
        insert(model, "acceleration", **wish.acceleration)


TWEAK = Tweak(
    name="video",
    doc="Chooses the guest's video card.",
    change=(
        "With `T_VIDEO_MODEL`: `devices/video/model` of the first card is replaced by one with these"
        " attributes; accel2d, accel3d and rendernode are those of `<acceleration>` in it."
    ),
    keys=(Config.t_video_model,),
    apply=apply,
)
