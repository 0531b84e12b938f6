"""What OpenNebula's hook manager tells of a call of its API: which object it has changed."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.errors import UsageError
from storpool_addon.opennebula.xml import parse

_KINDS = ("vm", "image")
# The first parameter of every call is the session, the second the object's id.
_ID = "2"


class ApiCall(NamedTuple):
    """A call of one.<kind>.update. succeeded: whether oned did what it was asked for."""

    kind: str
    object_id: int
    succeeded: bool

    @classmethod
    def parse(cls, document: bytes) -> ApiCall:
        """`vm` or `image`, a blank, and the call's CALL_INFO in base64: ARGUMENTS = "vm $API" of a hook."""
        kind, _, rest = document.strip().partition(b" ")
        word = kind.decode("utf-8", "replace")
        if word not in _KINDS or not rest:
            raise UsageError('standard input is not "vm" or "image" and the call; is ARGUMENTS = "vm $API"?')
        info = parse(rest, "the hook's call")
        if info.tag != "CALL_INFO":
            raise UsageError(f"the hook's call is a {info.tag} and no CALL_INFO")
        for each in info.nodes("PARAMETERS/PARAMETER"):
            if each.text("TYPE") == "IN" and each.text("POSITION") == _ID:
                return cls(word, each.number("VALUE"), info.flag("RESULT"))
        raise UsageError("the hook's call does not say which object it was about")
