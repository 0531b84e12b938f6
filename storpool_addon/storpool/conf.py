"""StorPool's configuration of a host: storpool.conf, its directory, and what the environment overrides."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from storpool_addon.errors import ConfigError
from storpool_addon.storpool.endpoints import API_KEYS, DEFAULTS, Endpoint, endpoint

__all__ = ["API_KEYS", "DEFAULTS", "Endpoint", "client_id", "endpoint", "read_conf"]

PATH = "/etc/storpool.conf"
DIRECTORY = "/etc/storpool.conf.d"
# Only these may be overridden by the environment (spconfig.py of StorPool's Python binding).
_OVERRIDES = ("SP_AUTH_TOKEN", "SP_API_HTTP_HOST", "SP_API_HTTP_PORT")
MAX_CLIENT_ID = 4095

_COMMENT = re.compile(r"\s*(?:[#;].*)?")
_SECTION = re.compile(r"\s*\[\s*([^\]]+?)\s*\]\s*")
_VALUE = re.compile(r"\s*([^\s=]+)\s*=\s*(.*)", re.DOTALL)


def read_conf(
    host: str | None = None,
    *,
    path: str = PATH,
    directory: str = DIRECTORY,
    environ: Mapping[str, str] = os.environ,
    missing_ok: bool = False,
) -> dict[str, str]:
    """What StorPool's configuration says for a host, this one unless `host` names another.

    As storpool_confget reads it: defaults, then of each file its unnamed section and the host's, then the
    environment. Raises ConfigError for a file that cannot be read or parsed, and for a missing `path`
    unless `missing_ok`.
    """
    values = dict(DEFAULTS)
    section = host if host is not None else os.uname().nodename
    for sections in _read_files(path, directory, missing_ok):
        values.update(sections.get("", {}))
        values.update(sections.get(section, {}))
    values.update((key, environ[key]) for key in _OVERRIDES if environ.get(key))
    return values


def client_id(host: str, *, path: str = PATH, directory: str = DIRECTORY) -> int | None:
    """The client id (SP_OURID) in the host's own section; None when no file gives it one.

    The same files, with sections for all hosts of the cluster, are meant to be on every host.
    """
    found = None
    for sections in _read_files(path, directory, missing_ok=True):
        if host:  # the unnamed section is everyone's
            found = sections.get(host, {}).get("SP_OURID", found)
    if found is None:
        return None
    if not (found.isascii() and found.isdigit() and 0 < int(found) <= MAX_CLIENT_ID):
        raise ConfigError(
            f"{path}: [{host}] SP_OURID is {found!r}; it must be a number from 1 to {MAX_CLIENT_ID}"
        )
    return int(found)


def _read_files(path: str, directory: str, missing_ok: bool) -> Iterator[dict[str, dict[str, str]]]:
    if os.path.exists(path) or not missing_ok:
        yield _read_file(path)
    for name in sorted(_listed(directory)):
        if name.endswith(".conf") and not name.startswith("."):
            yield _read_file(os.path.join(directory, name))


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{directory} cannot be read: {error.strerror}") from None


def _read_file(path: str) -> dict[str, dict[str, str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return parse(file, path)
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}; it is StorPool's configuration of this host"
        raise ConfigError(text) from None


def parse(lines: Iterable[str], path: str) -> dict[str, dict[str, str]]:
    """The sections of one file, the unnamed one as ""; the grammar is that of confget's `ini` backend.

    No quotes, no inline comments, no interpolation; of two equal keys the last wins.
    """
    values: dict[str, str] = {}
    sections = {"": values}
    for number, line in _joined(lines):
        if _COMMENT.fullmatch(line):
            continue
        section, value = _SECTION.fullmatch(line), _VALUE.fullmatch(line)
        if section:
            values = sections.setdefault(section.group(1), {})
        elif value:
            values[value.group(1)] = value.group(2).rstrip()
        else:
            # The line itself is not shown: it may be the one with the token.
            raise ConfigError(f"{path}:{number}: not a [section], a NAME=value or a comment")
    return sections


def _joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    # A value that ends in a backslash goes on in the next line, whatever that line holds.
    held = ""
    number = 0
    for number, raw in enumerate(lines, 1):
        line = held + raw.rstrip("\r\n")
        held = ""
        if line.endswith("\\") and _VALUE.fullmatch(line) and not _COMMENT.fullmatch(line):
            held = line[:-1]
        else:
            yield number, line
    # A continuation that never comes takes its value with it, as in confget.
