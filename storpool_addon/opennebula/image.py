"""An image as oned describes it."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.opennebula.snapshots import Snapshot, snapshots
from storpool_addon.opennebula.states import ImageState, ImageType, known
from storpool_addon.opennebula.xml import Attributes, Node, is_true


class Image(NamedTuple):
    """An image.

    id: -1 in the document of `stat`, which asks about an image that does not exist yet.
    source: where the image is ("" before it is registered). path: where it comes from.
    size_mib: 0 when it is not known yet. cloning_id, target_snapshot: -1 for none. attributes: its TEMPLATE.
    """

    id: int
    uid: int
    gid: int
    name: str
    type: int
    persistent: bool
    source: str
    path: str
    format: str
    fs: str
    size_mib: int
    state: int
    cloning_id: int
    target_snapshot: int
    datastore_id: int
    vms: tuple[int, ...]
    snapshots: tuple[Snapshot, ...]
    attributes: Attributes

    @classmethod
    def from_node(cls, node: Node) -> Image:
        """The image in an IMAGE element."""
        image_id = node.number("ID", -1)
        node = node.named("the image" if image_id < 0 else f"image {image_id}")
        chain = node.node("SNAPSHOTS")
        return cls(
            id=image_id,
            uid=node.number("UID", -1),
            gid=node.number("GID", -1),
            name=node.text("NAME"),
            type=known(ImageType, node.number("TYPE", 0)),
            persistent=node.flag("PERSISTENT"),
            source=node.text("SOURCE"),
            path=node.text("PATH"),
            format=node.text("FORMAT"),
            fs=node.text("FS"),
            size_mib=node.size_mib("SIZE"),
            state=known(ImageState, node.number("STATE", 0)),
            cloning_id=node.number("CLONING_ID", -1),
            target_snapshot=node.number("TARGET_SNAPSHOT", -1),
            datastore_id=node.number("DATASTORE_ID", -1),
            vms=node.numbers("VMS/ID"),
            snapshots=snapshots(chain) if chain else (),
            attributes=node.attributes("TEMPLATE"),
        )

    def attribute(self, name: str) -> str:
        """An attribute of TEMPLATE, "" when the image does not have it."""
        return self.attributes.get(name, "")

    @property
    def md5(self) -> str:
        """The MD5 digest that the content must have, "" for none."""
        return self.attribute("MD5").lower()

    @property
    def sha1(self) -> str:
        """The SHA-1 digest that the content must have, "" for none."""
        return self.attribute("SHA1").lower()

    @property
    def no_decompress(self) -> bool:
        """Whether a compressed source is to be kept as it is."""
        return is_true(self.attribute("NO_DECOMPRESS"))

    @property
    def is_save_as(self) -> bool:
        """Whether `mkfs` is asked only for a name, which `cpds` fills afterwards."""
        return self.format.lower() == "save_as"
