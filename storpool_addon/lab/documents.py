"""OpenNebula's documents in the very bytes of the wire: no white space, CDATA where oned has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Union

Value = Union[str, Mapping[str, str], Sequence[Mapping[str, str]]]
PERMISSIONS = [
    "OWNER_U",
    "OWNER_M",
    "OWNER_A",
    "GROUP_U",
    "GROUP_M",
    "GROUP_A",
    "OTHER_U",
    "OTHER_M",
    "OTHER_A",
]


def element(name: str, *content: object) -> str:
    """An element around what is a document already, or needs no escape."""
    return f"<{name}>{''.join(map(str, content))}</{name}>"


def cdata(name: str, value: object) -> str:
    """An element with a text in it."""
    text = str(value).replace("]]>", "]]]]><![CDATA[>")
    return f"<{name}><![CDATA[{text}]]></{name}>"


def escaped(name: str, value: str) -> str:
    """An element with a text that oned writes with entities: the PATH of `stat`."""
    return element(name, value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def elements(**values: object) -> str:
    """Elements one after the other, in the order given."""
    return "".join(element(name, value) for name, value in values.items())


def vector(name: str, values: Mapping[str, object]) -> str:
    """A vector attribute: its values by name."""
    return element(name, *(cdata(key, values[key]) for key in sorted(values)))


def template(name: str, values: Mapping[str, Value]) -> str:
    """A template: attributes by name, vectors nested, repeated vectors in their own order."""
    return element(name, *(_attribute(key, values[key]) for key in sorted(values)))


def _attribute(name: str, value: Value) -> str:
    if isinstance(value, str):
        return cdata(name, value)
    if isinstance(value, Mapping):
        return vector(name, value)
    return "".join(vector(name, each) for each in value)


def permissions() -> str:
    """What only the owner may use."""
    return element(
        "PERMISSIONS", *(element(name, int(name in ("OWNER_U", "OWNER_M"))) for name in PERMISSIONS)
    )


def owned(object_id: int, name: str, user: tuple[int, int, str, str] = (0, 0, "oneadmin", "oneadmin")) -> str:
    """How every object but a host begins: id, owner and name."""
    uid, gid, uname, gname = user
    return elements(ID=object_id, UID=uid, GID=gid, UNAME=uname, GNAME=gname, NAME=name)
