"""Messages as monitord takes them: lines, packed, and encrypted where it wants that.

The wire format is that of OpenNebula's include/Message.h: `TYPE STATUS OID TIMESTAMP base64(zlib(payload))`,
the payload being encrypted in blocks before it is compressed. An OID of -1 and a time of 0 belong to no host.
"""

from __future__ import annotations

import zlib
from binascii import b2a_base64
from collections.abc import Iterable, Iterator

from storpool_addon.monitoring.rsa import PublicKey

# monitord takes datagrams of 64 KiB. A payload grows by 11 bytes of 256 when it is encrypted, cannot be
# compressed then, and grows by a third in base64.
MOST_BYTES = 44_000
_LEVEL = 6


class Messages:
    """The lines about VMs as messages, each small enough for a datagram."""

    def __init__(self, key: PublicKey | None, host_id: int = -1) -> None:
        self._key = key
        self._host_id = host_id
        self._lines: list[bytes] = []
        self._size = 0
        self._packed: list[str] = []

    def add(self, line: bytes) -> None:
        """One more line, with its end; an empty one is none."""
        if not line:
            return
        if self._size + len(line) > MOST_BYTES:
            self._pack()
        self._lines.append(line)
        self._size += len(line)

    def packed(self) -> list[str]:
        """All messages, each a line without its end."""
        self._pack()
        return self._packed

    def _pack(self) -> None:
        if self._lines:
            payload = b"".join(self._lines)
            self._packed.append(message(payload, self._key, self._host_id))
            self._lines.clear()
            self._size = 0


def message(payload: bytes, key: PublicKey | None, host_id: int = -1) -> str:
    """One message about VMs."""
    plain = key.encrypt(payload) if key else payload
    return (
        f"MONITOR_VM SUCCESS {host_id} 0 {b2a_base64(zlib.compress(plain, _LEVEL), newline=False).decode()}"
    )


def messages(lines: Iterable[bytes], key: PublicKey | None = None, host_id: int = -1) -> Iterator[str]:
    """The messages of these lines."""
    made = Messages(key, host_id)
    for line in lines:
        made.add(line)
    yield from made.packed()
