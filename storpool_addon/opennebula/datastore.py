"""A datastore as oned describes it."""

from __future__ import annotations

import re
from typing import NamedTuple

from storpool_addon.opennebula.location import absolute
from storpool_addon.opennebula.states import DatastoreType, known
from storpool_addon.opennebula.xml import Attributes, Node, parse

# Base64 with both small and capital letters: a token of digits, or of hexadecimal ones, is none.
_BASE64 = re.compile(r"(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/]{20,}={0,2}", re.ASCII)
_CIPHER_BLOCK = 16
TOKEN = "SP_AUTH_TOKEN"


class Datastore(NamedTuple):
    """A datastore.

    base_path: its directory, without double slashes. attributes: its TEMPLATE; those that oned keeps
    encrypted are plain text where oned decrypts them for the driver.
    """

    id: int
    uid: int
    gid: int
    name: str
    type: int
    state: int
    ds_mad: str
    tm_mad: str
    base_path: str
    images: tuple[int, ...]
    attributes: Attributes

    @classmethod
    def from_node(cls, node: Node) -> Datastore:
        """The datastore in a DATASTORE element."""
        datastore_id = node.number("ID")
        node = node.named(f"datastore {datastore_id}")
        return cls(
            id=datastore_id,
            uid=node.number("UID", -1),
            gid=node.number("GID", -1),
            name=node.text("NAME"),
            type=known(DatastoreType, node.number("TYPE", 0)),
            state=node.number("STATE", 0),
            ds_mad=node.text("DS_MAD"),
            tm_mad=node.text("TM_MAD"),
            base_path=_base_path(node),
            images=node.numbers("IMAGES/ID"),
            attributes=node.attributes("TEMPLATE"),
        )

    def attribute(self, name: str) -> str:
        """An attribute of TEMPLATE, "" when the datastore does not have it."""
        return self.attributes.get(name, "")

    def is_encrypted(self, name: str) -> bool:
        """Whether an attribute is there as oned stores what DATASTORE_ENCRYPTED_ATTR names: AES in base64.

        It is so in documents of actions for which oned decrypts nothing, and for an account outside of
        group oneadmin (src/common/NebulaUtil.cc, src/rm/RequestManagerInfo.cc of OpenNebula).
        """
        text = "".join(self.attribute(name).split())
        length, rest = divmod(len(text) * 3, 4)
        return bool(_BASE64.fullmatch(text)) and not rest and (length - text.count("=")) % _CIPHER_BLOCK == 0

    @property
    def is_system(self) -> bool:
        """Whether VMs are deployed on it."""
        return self.type == DatastoreType.SYSTEM

    @property
    def bridge_list(self) -> tuple[str, ...]:
        """Hosts that work on images; empty when the front-end does."""
        return tuple(self.attribute("BRIDGE_LIST").split())


def _base_path(node: Node) -> str:
    text = node.text("BASE_PATH")
    try:
        return absolute(text) if text else ""
    except ValueError:
        raise node.wrong("BASE_PATH", text, "a plain absolute path") from None


def without_token(document: bytes) -> bytes:
    """A document as hosts may have it: oned decrypts datastores for drivers, and no host needs the token."""
    if TOKEN.encode() not in document:
        return document
    root = parse(document)
    root.remove(TOKEN)
    return root.document()
