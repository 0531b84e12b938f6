"""Where a cluster's API is, and with what token: made from SP_API_HTTP_HOST and its companions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from storpool_addon.errors import ConfigError

API_KEYS = ("SP_API_HTTP_HOST", "SP_API_HTTP_PORT", "SP_AUTH_TOKEN", "SP_API_CA_FILE")
# The defaults of StorPool's Python binding (spconfig.py).
DEFAULTS = {"SP_API_HTTP_HOST": "127.0.0.1", "SP_API_HTTP_PORT": "81"}
DEFAULT_PORT = 81
MAX_PORT = 65535

_SCHEME = re.compile(r"(?:(https?)://)?([^/]*)/?", re.IGNORECASE)
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]+))?")
_NAMED = re.compile(r"([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)(?::([0-9]+))?")
_BARE_V6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_TOKEN = re.compile(r"[!-~]+")


class Endpoint(NamedTuple):
    """A cluster's API.

    hosts: each a name or an address, IPv6 with or without brackets, with a port of its own or without;
    they are tried in turn. port: for those without one. scheme: "http" or "https". ca_file: PEM file with
    the certificates to trust, None for the system's. Its repr hides the token.
    """

    hosts: tuple[str, ...]
    port: int = DEFAULT_PORT
    token: str = ""
    scheme: str = "http"
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.hosts!r}, {self.port}, scheme={self.scheme!r})"

    def urls(self) -> list[str]:
        """The base URL of each host, without a slash at its end; ConfigError for what is no address."""
        return [f"{self.scheme}://{_netloc(host, self.port)}" for host in self.hosts]

    @property
    def title(self) -> str:
        """What tells it from others, for people and files: its URLs, and not its token."""
        return ",".join(self.urls())


def endpoint(values: Mapping[str, str]) -> Endpoint:
    """The endpoint that SP_API_HTTP_HOST, SP_API_HTTP_PORT, SP_AUTH_TOKEN and SP_API_CA_FILE describe.

    SP_API_HTTP_HOST: one or several, separated by commas or blanks, as in `Endpoint.hosts`, each with
    http:// or https:// before it or not. Raises ConfigError, which never shows the token.
    """
    token = values.get("SP_AUTH_TOKEN", "").strip()
    if not token:
        raise ConfigError(
            "SP_AUTH_TOKEN is not set; give it in /etc/storpool.conf or in the datastore's attributes"
        )
    if not _TOKEN.fullmatch(token):
        raise ConfigError("SP_AUTH_TOKEN has characters that no token has; copy it again")
    scheme, hosts = _hosts(values.get("SP_API_HTTP_HOST", ""))
    port = _port(values.get("SP_API_HTTP_PORT", ""))
    found = Endpoint(hosts, port, token, scheme, values.get("SP_API_CA_FILE", "").strip() or None)
    found.urls()
    return found


def _hosts(text: str) -> tuple[str, tuple[str, ...]]:
    entries = text.replace(",", " ").split() or [DEFAULTS["SP_API_HTTP_HOST"]]
    matches = [match for match in map(_SCHEME.fullmatch, entries) if match]
    if len(matches) < len(entries):
        raise ConfigError(f"SP_API_HTTP_HOST is {text!r}; it takes hosts, separated by commas, and no paths")
    # One https:// is enough for all: the token must not go to the next host in the clear.
    schemes = {match.group(1).lower() for match in matches if match.group(1)} or {"http"}
    if len(schemes) > 1:
        raise ConfigError(f"SP_API_HTTP_HOST is {text!r}; its hosts must be all http:// or all https://")
    return schemes.pop(), tuple(match.group(2) for match in matches)


def _port(text: str) -> int:
    text = text.strip() or DEFAULTS["SP_API_HTTP_PORT"]
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_PORT):
        raise ConfigError(f"SP_API_HTTP_PORT is {text!r}; it must be a number from 1 to {MAX_PORT}")
    return int(text)


def _netloc(host: str, default_port: int) -> str:
    if _BARE_V6.fullmatch(host):
        return f"{_v6(host)}:{default_port}"
    bracketed, named = _BRACKETED.fullmatch(host), _NAMED.fullmatch(host)
    match = bracketed or named
    if not match:
        raise ConfigError(f"SP_API_HTTP_HOST has {host!r}, which is neither a host name nor an address")
    name = _v6(match.group(1)) if bracketed else match.group(1)
    return f"{name}:{_port(match.group(2)) if match.group(2) else default_port}"


def _v6(address: str) -> str:
    import socket

    try:
        socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        raise ConfigError(f"SP_API_HTTP_HOST has {address!r}, which is no IPv6 address") from None
    return f"[{address}]"
