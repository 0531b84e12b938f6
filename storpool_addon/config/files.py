"""Finds the site's configuration files and checks what they say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from storpool_addon.config import KEYS, Config
from storpool_addon.config.key import Given
from storpool_addon.config.others import ATTRIBUTES, replacement
from storpool_addon.config.shell import Assignment, Reader
from storpool_addon.errors import ConfigError

NAME = "addon-storpoolrc"
SITE = "/etc/storpool/addon-storpool.conf"
_MIDDLES = ("", "/datastore", "/tm/storpool")
_FS_OPTIONS = "FS_OPTS_"
# Of OpenNebula's own file these count, and options of file systems.
_OPENNEBULA_S = ("SUPPORTED_FS", "BACKUP_BASE_PATH")
# Nobody's configuration is longer; a file that is was put there by mistake.
_MAX_FILE = 1 << 20


def paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The files in rising precedence; of the places for addon-storpoolrc the first that has one counts."""
    places = [f"{base}{middle}/{NAME}" for base in (_remotes(environ), "/var/tmp/one") for middle in _MIDDLES]
    found = next((path for path in places if os.path.exists(path)), None)
    return tuple(filter(None, (found, SITE)))


def load(environ: Mapping[str, str]) -> Config:
    """The configuration of this machine; ConfigError names the file and the line that does not fit."""
    return read(paths(environ), environ, f"{_remotes(environ)}/etc/datastore/datastore.conf")


def read(files: tuple[str, ...], environ: Mapping[str, str], datastore_conf: str = "") -> Config:
    """The configuration that the files give, later ones over earlier ones; a missing file says nothing.

    datastore_conf: OpenNebula's own file, of which only SUPPORTED_FS, BACKUP_BASE_PATH and FS_OPTS_* count.
    """
    given: dict[str, Given] = {}
    fs_options: dict[str, str] = {}
    notes: list[str] = []
    for each in _assignments(datastore_conf, given, environ) if datastore_conf else ():
        if each.name.startswith(_FS_OPTIONS):
            fs_options[each.name[len(_FS_OPTIONS) :]] = each.value
        elif each.name in _OPENNEBULA_S:
            _take(given, each, f"{datastore_conf}:{each.line}")
    for path in files:
        for each in _assignments(path, given, environ):
            where = f"{path}:{each.line}"
            if each.name.startswith(_FS_OPTIONS):
                fs_options[each.name[len(_FS_OPTIONS) :]] = each.value
            elif each.name in KEYS and KEYS[each.name].in_files:
                _take(given, each, where)
            else:
                notes.append(f"{where}: {_why_not(each.name)}")
    return Config(given, fs_options, tuple(notes))


def _remotes(environ: Mapping[str, str]) -> str:
    location = environ.get("ONE_LOCATION", "")
    return f"{location}/var/remotes" if location else "/var/lib/one/remotes"


def _take(given: dict[str, Given], each: Assignment, where: str) -> None:
    key = KEYS[each.name]
    value = Given(each.value, where)
    if each.name == "SYSTEM_COMPATIBLE_DS" and each.subscript:
        value = Given(_with_member(given.get(each.name), each.subscript, each.value), where)
    elif each.subscript is not None:
        raise ConfigError(f"{where}: {each.name} has no entries; write {each.name}=value")
    key.read(value)
    given[each.name] = value


def _with_member(before: Given | None, member: str, value: str) -> str:
    """The words of a bash array: SYSTEM_COMPATIBLE_DS[ceph]=1 adds one, an empty value or 0 removes it."""
    words = (before.text if before else KEYS["SYSTEM_COMPATIBLE_DS"].default).split()
    others = [word for word in words if word != member]
    return " ".join(others if value in ("", "0") else [*others, member])


def _assignments(path: str, given: Mapping[str, Given], environ: Mapping[str, str]) -> list[Assignment]:
    def variable(name: str) -> str:
        if name in given:
            return given[name].text
        return environ.get(name, "")

    return Reader(_content(path), path, variable).read()


def _content(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            raw = stream.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; correct its owner and mode") from None
    if len(raw) > _MAX_FILE or b"\0" in raw:
        raise ConfigError(f"{path} is not a configuration file: it is binary or too large")
    return raw.decode("utf-8", "replace")


def _why_not(name: str) -> str:
    instead = replacement(name)
    if instead:
        return f"{name} has no effect any more; in its place: {instead}"
    carrier = "VM" if name in KEYS else ATTRIBUTES.get(name, ("",))[0]
    if carrier:
        return f"{name} has no effect here; it is an attribute of a {carrier}"
    similar = next(_similar(name), "")
    return f"{name} is not a key of this driver" + (f"; {similar} is" if similar else "")


def _similar(name: str) -> Iterator[str]:
    from difflib import get_close_matches

    yield from get_close_matches(name, KEYS, 1)
