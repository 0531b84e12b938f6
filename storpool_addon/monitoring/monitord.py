"""The way to OpenNebula's monitord: where it listens, with what key, and the sending of messages."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storpool_addon.config import Config
from storpool_addon.errors import StateError
from storpool_addon.monitoring.rsa import PublicKey
from storpool_addon.opennebula.http import peer

# All messages together; monitord is on this machine or next to it.
DEADLINE_S = 10.0
_CONNECT_S = 2.0
# What a socket of monitord holds before it is read, by default: datagrams beyond that are lost.
_BURST = 3
_DATAGRAM = 65_507
_PAUSE_S = 0.002
# A comment begins anywhere but in a string (template_parser.l of OpenNebula).
_COMMENT = re.compile(r'("[^"]*")|#.*')
_NETWORK = re.compile(r"^\s*NETWORK\s*=\s*\[(.*?)\]", re.MULTILINE | re.DOTALL | re.IGNORECASE)
_VALUE = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"\]]+))')
_EVERYWHERE = ("", "0.0.0.0", "::")


class Monitord(NamedTuple):
    """Where it listens. key_file: of its public key, "" when messages are not encrypted."""

    address: str
    port: int
    udp: bool
    key_file: str

    @classmethod
    def configured(cls, config: Config, environ: Mapping[str, str]) -> Monitord:
        """As addon-storpoolrc says, else as monitord.conf does, else where monitord is by default."""
        network = _network(environ)
        bound = network.get("ADDRESS", "")
        address = config.monitor_address
        if config.given("MONITOR_ADDRESS") is None and bound not in _EVERYWHERE:
            address = bound
        port = config.monitor_port
        if config.given("MONITOR_PORT") is None and network.get("PORT", "").isdecimal():
            port = int(network["PORT"])
        return cls(address, port, config.monitor_send_udp, network.get("PUBKEY", ""))

    def key(self) -> PublicKey | None:
        """The key to encrypt with, if any; ConfigError when it cannot be read."""
        return PublicKey.read(self.key_file) if self.key_file else None

    def send(self, messages: Sequence[str]) -> None:
        """Send messages; StateError when monitord does not take them, with how many it took."""
        until = time.monotonic() + DEADLINE_S
        for number, message in enumerate(messages):
            data = message.encode() + b"\n"
            try:
                if time.monotonic() > until:
                    raise socket.timeout("it is too slow")
                # A VM with very many snapshots; monitord listens for both.
                if self.udp and len(data) <= _DATAGRAM:
                    self._datagram(data, pause=number % _BURST == _BURST - 1)
                else:
                    self._connection(data)
            except OSError as error:
                where = f"monitord at {self.address}:{self.port}"
                raise StateError(
                    f"{where} took {number} of {len(messages)} messages: {error.strerror or error}"
                ) from None

    def _connection(self, data: bytes) -> None:
        """monitord reads a message up to the end of its connection (TCPStream.h of OpenNebula)."""
        with socket.create_connection(peer(self.address, self.port), timeout=_CONNECT_S) as connection:
            connection.sendall(data)

    def _datagram(self, data: bytes, *, pause: bool) -> None:
        found = socket.getaddrinfo(*peer(self.address, self.port), type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as sender:
            sender.sendto(data, address)
        if pause:
            time.sleep(_PAUSE_S)


def _network(environ: Mapping[str, str]) -> dict[str, str]:
    """NETWORK of monitord.conf, empty when there is none to read."""
    for path in _places(environ):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found = _NETWORK.search(_COMMENT.sub(r"\1", file.read(1 << 20)))
        except OSError:
            continue
        pairs = _VALUE.findall(found[1]) if found else []
        return {name.upper(): quoted or plain for name, quoted, plain in pairs}
    return {}


def _places(environ: Mapping[str, str]) -> tuple[str, ...]:
    location = environ.get("ONE_LOCATION", "")
    if location:
        return (os.path.join(location, "etc/monitord.conf"),)
    return ("/var/tmp/one_db/etc/monitord.conf", "/etc/one/monitord.conf")
