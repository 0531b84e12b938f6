"""Encryption with monitord's public key: RSA with the padding of PKCS #1 1.5, in blocks.

Written here because it is one power of a public number: no library that does it is on every front-end, and a
program would be started once for every 245 bytes.
"""

from __future__ import annotations

import os
import re
from binascii import Error, a2b_base64
from typing import NamedTuple

from storpool_addon.errors import ConfigError

_PEM = re.compile(rb"-----BEGIN ((?:RSA )?PUBLIC KEY)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----")
_PADDING = 11
_SEQUENCE, _INTEGER, _BIT_STRING = 0x30, 0x02, 0x03


class PublicKey(NamedTuple):
    """modulus, exponent: the key. id: tells keys apart."""

    modulus: int
    exponent: int
    id: str

    @classmethod
    def read(cls, path: str) -> PublicKey:
        """The key in a PEM file, of PKCS #1 as OpenNebula's manual makes it or of X.509; ConfigError."""
        try:
            with open(path, "rb") as file:
                content = file.read(1 << 16)
            return cls.parse(content)
        except OSError as error:
            raise ConfigError(f"monitord's PUBKEY {path} cannot be read: {error.strerror}") from None
        except (ValueError, IndexError, Error):
            raise ConfigError(f"monitord's PUBKEY {path} is not an RSA public key in PEM") from None

    @classmethod
    def parse(cls, pem: bytes) -> PublicKey:
        """The key in a PEM document; ValueError or IndexError for anything else."""
        from hashlib import sha256

        match = _PEM.search(pem)
        if not match:
            raise ValueError("no PEM")
        der = a2b_base64(match[2])
        if not match[1].startswith(b"RSA"):
            der = _subject_key(der)
        body, _ = _element(der, _SEQUENCE)
        modulus, rest = _element(body, _INTEGER)
        exponent, _ = _element(rest, _INTEGER)
        found = cls(
            int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big"), sha256(der).hexdigest()[:16]
        )
        if found.size < 64 or found.exponent < 3:
            raise ValueError("too short")
        return found

    @property
    def size(self) -> int:
        """Bytes of a block."""
        return (self.modulus.bit_length() + 7) // 8

    def encrypt(self, plain: bytes) -> bytes:
        """All of it, block after block."""
        most = self.size - _PADDING
        blocks = (plain[start : start + most] for start in range(0, len(plain), most))
        return b"".join(map(self._block, blocks))

    def _block(self, plain: bytes) -> bytes:
        filler = _nonzero(self.size - 3 - len(plain))
        number = int.from_bytes(b"\0\2" + filler + b"\0" + plain, "big")
        return pow(number, self.exponent, self.modulus).to_bytes(self.size, "big")


def _nonzero(length: int) -> bytes:
    """Random bytes, none of them zero."""
    found = b""
    while len(found) < length:
        found += os.urandom(length + 16).replace(b"\0", b"")
    return found[:length]


def _subject_key(der: bytes) -> bytes:
    """The key inside of an X.509 SubjectPublicKeyInfo."""
    body, _ = _element(der, _SEQUENCE)
    _, rest = _element(body, _SEQUENCE)
    bits, _ = _element(rest, _BIT_STRING)
    return bits[1:]


def _element(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Content of the first element, which has that tag, and what follows it."""
    if der[0] != tag:
        raise ValueError("another element")
    length, start = der[1], 2
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:start], "big")
    if start + length > len(der):
        raise ValueError("cut off")
    return der[start : start + length], der[start + length :]
