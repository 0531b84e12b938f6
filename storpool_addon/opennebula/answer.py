"""The text in a large answer of oned, without a parser, which unpacks a pool more slowly than it is read."""

from __future__ import annotations

import re

# As libxmlrpc writes a call's success: true, a text, and numbers behind it.
_BEFORE = re.compile(
    rb"\s*(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:utf-8)[\"'])? ?\?>\s*)?<methodResponse>"
    rb"\s*<params>\s*<param>\s*<value>\s*<array>\s*<data>\s*<value>\s*<boolean>1</boolean>\s*</value>\s*<value>\s*<string>"
)
_BEHIND = re.compile(
    rb"</string>\s*</value>(?:\s*<value>\s*<(i4|int)>[0-9-]{1,20}</\1>\s*</value>)*"
    rb"\s*</data>\s*</array>\s*</value>\s*</param>\s*</params>\s*</methodResponse>\s*"
)
_ESCAPES = (
    (b"&lt;", b"<"),
    (b"&gt;", b">"),
    (b"&quot;", b'"'),
    (b"&apos;", b"'"),
    (b"&#x0d;", b"\r"),
    (b"&#13;", b"\r"),
    # The last: what it stands for begins all others.
    (b"&amp;", b"&"),
)


def text_of(answer: bytes) -> str | None:
    """The text of a success; None for what does not look like one to its last byte, for a parser to read."""
    before = _BEFORE.match(answer)
    if before is None:
        return None
    end = answer.find(b"<", before.end())
    if end < 0 or not _BEHIND.fullmatch(answer, end):
        return None
    written = answer[before.end() : end]
    # XML has no such end outside of CDATA; of a carriage return a parser makes the end of a line.
    plain = None if b"]]>" in written or b"\r" in written else _unescaped(written)
    return None if plain is None else plain.decode("utf-8", "replace").strip()


def _unescaped(text: bytes) -> bytes | None:
    """None when there is another escape, or an ampersand that is none."""
    left = text.count(b"&")
    for escape, character in _ESCAPES:
        if not left:
            break
        size = len(text)
        text = text.replace(escape, character)
        left -= (size - len(text)) // (len(escape) - 1)
    return text if left == 0 else None
