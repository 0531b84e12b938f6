"""Writes docs/configuration.md and remotes/addon-storpoolrc from the keys, when it is run as a module."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from storpool_addon.config import SECTIONS
from storpool_addon.config.key import Key, Numbered, keys_of
from storpool_addon.config.others import ATTRIBUTES, OBSOLETE

_MANUAL_HEAD = """\
# Configuration

This page is written by `python -m storpool_addon.config.document` from the keys in `storpool_addon/config/`.

## Where values come from

Of a key's values the last one in this list counts:

1. the default;
2. `addon-storpoolrc`, the first that exists of `/var/lib/one/remotes/`, `/var/lib/one/remotes/datastore/`,
   `/var/lib/one/remotes/tm/storpool/`, and the same below `/var/tmp/one/` (with `ONE_LOCATION` set, below
   `$ONE_LOCATION/var/remotes/` in place of `/var/lib/one/remotes/`);
3. `/etc/storpool/addon-storpool.conf`;
4. the attribute of the same name of the datastore, for keys that say so;
5. the attribute of the same name in the user template of the VM, for keys that say so. Users write that
   template: limits that are to bind them belong into oned's `VM_RESTRICTED_ATTR`.

The files are written as for bash, and read without running anything in them: `NAME=value`, with quotes,
comments, `export`, and `$NAME` or `${NAME:-default}` of what was set before. Any other line is an error
that names file and line. A value that is not allowed is an error too; for an attribute of a datastore or a
VM, once an action needs it. A name that is not a key changes nothing and is noted in the log.

The StorPool API's address and token are those of `/etc/storpool.conf`, if neither the files nor the datastore
say otherwise.

"""

_RC_HEAD = """\
# Configuration of the StorPool driver of OpenNebula. docs/configuration.md says more.
#
# Every key is here with its default; remove the # in front of one to change it. The file is read, and not
# run: only NAME=value lines are possible. Settings may stand in /etc/storpool/addon-storpool.conf as well;
# what is written there counts before this file.
"""


def manual() -> str:
    """docs/configuration.md."""
    parts = [_MANUAL_HEAD]
    for section in SECTIONS:
        parts.append(f"## {section.__doc__}\n\n{table(_keys(section))}\n")
    rows = "".join(f"| `{name}` | {where} | {_cell(doc)} |\n" for name, (where, doc) in ATTRIBUTES.items())
    parts.append(f"## Attributes of objects\n\n| Attribute | On | Meaning |\n|---|---|---|\n{rows}\n")
    rows = "".join(f"| `{name}` | {_cell(text)} |\n" for name, text in OBSOLETE.items())
    head = "The bash addon read these; this driver does not, and notes in the log when a file sets one."
    parts.append(f"## Names without effect\n\n{head}\n\n| Name | In its place |\n|---|---|\n{rows}")
    return "".join(parts)


def rc_file() -> str:
    """remotes/addon-storpoolrc."""
    parts = [_RC_HEAD]
    for section in SECTIONS:
        keys = [key for key in _keys(section) if key.in_files]
        parts += [f"\n\n### {section.__doc__}\n"] if keys else []
        parts += ["\n" + "\n".join(_rc_entry(key)) + "\n" for key in keys]
    return "".join(parts)


def table(keys: Iterable[Key[Any] | Numbered[Any]]) -> str:
    """The keys in Markdown."""
    rows = "".join(map(_row, keys))
    return f"| Key | Default | Meaning | Allowed | Overridden by |\n|---|---|---|---|---|\n{rows}"


def write(project: str) -> None:
    """Write both files below `project`."""
    for path, content in (("docs/configuration.md", manual()), ("remotes/addon-storpoolrc", rc_file())):
        with open(os.path.join(project, path), "w", encoding="utf-8") as stream:
            stream.write(content)


def _keys(section: type) -> list[Key[object]]:
    return list(keys_of(section).values())


def _row(key: Key[Any] | Numbered[Any]) -> str:
    default, scopes = f"`{key.default}`" if key.default else "empty", ", ".join(key.scopes)
    scopes += "" if key.in_files else " only"
    return f"| `{key.name}` | {default} | {_cell(key.doc)} | {_cell(key.allowed)} | {scopes} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rc_entry(key: Key[object]) -> Iterator[str]:
    scopes = f" A {' or a '.join(key.scopes)} may override it." if key.scopes else ""
    for line in textwrap.wrap(f"{key.doc} Allowed: {key.allowed}.{scopes}", 105):
        yield f"# {line}"
    yield f'#{key.name}="{key.default}"'


if __name__ == "__main__":
    write(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
