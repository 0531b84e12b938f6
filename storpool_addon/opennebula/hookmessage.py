"""What OpenNebula's hook manager gives a hook of states."""

from __future__ import annotations

from storpool_addon.errors import UsageError
from storpool_addon.opennebula.xml import Node, parse


def subject(document: bytes, kind: str) -> Node:
    """The object of that kind (HOST, VM) in `$TEMPLATE`, base64; words behind it are for other scripts."""
    words = document.split()
    what = f"the hook's {kind}"
    root = parse(words[0] if words else b"", what)
    if root.tag != kind:
        raise UsageError(f'{what} is a {root.tag} and no {kind}; is ARGUMENTS = "$TEMPLATE"?')
    return root
