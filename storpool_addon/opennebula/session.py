"""Who we are to oned, and where it answers, found as OpenNebula's src/oca/ruby/opennebula/client.rb does."""

from __future__ import annotations

import os
from collections.abc import Mapping

from storpool_addon.errors import ConfigError

DEFAULT_ENDPOINT = "http://localhost:2633/RPC2"
ONEADMIN_HOME = "/var/lib/one"


def secret(environ: Mapping[str, str], oneadmin: str = ONEADMIN_HOME) -> str:
    """`user:password` from the file that ONE_AUTH names, or ~/.one/one_auth; ConfigError without one."""
    places = _dot_one(environ, "one_auth", oneadmin)
    for path in (environ.get("ONE_AUTH", ""), *places):
        content = _first_line(path) if path else ""
        if content:
            return content
    raise ConfigError(
        "OpenNebula's password file was not found: run as oneadmin, or name the file in ONE_AUTH"
        f" (looked for {', '.join(places)})"
    )


def endpoint(environ: Mapping[str, str], oneadmin: str = ONEADMIN_HOME) -> str:
    """ONE_XMLRPC, or what ~/.one/one_endpoint holds, or oned on this machine."""
    stored = (_first_line(path) for path in _dot_one(environ, "one_endpoint", oneadmin))
    return environ.get("ONE_XMLRPC", "").strip() or next(filter(None, stored), DEFAULT_ENDPOINT)


def _dot_one(environ: Mapping[str, str], name: str, oneadmin: str) -> tuple[str, ...]:
    """The places of a file, without repetition."""
    homes = (environ.get("HOME", "") or _home(), oneadmin)
    return tuple(dict.fromkeys(f"{home}/.one/{name}" for home in homes))


def _home() -> str:
    # oned's drivers may be started without HOME.
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ONEADMIN_HOME


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.readline().strip()
    except OSError:
        return ""
