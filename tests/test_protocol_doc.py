"""docs/protocol.md has each script with its exact usage, and no script that is not there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from storpool_addon.opennebula.protocol import Action, protocol_of

CHECKOUT = Path(__file__).resolve().parent.parent
REMOTES = CHECKOUT / "remotes"
_PART = re.compile(r"^## .*`([a-z./-]+)`$")
_SCRIPT = re.compile(r"^### (\S+)$")
_USAGE = re.compile(r"^`(.+)`$")


def documented() -> dict[str, str]:
    """Script to usage line: the first line of its section."""
    found: dict[str, str] = {}
    part = script = ""
    for line in (CHECKOUT / "docs" / "protocol.md").read_text(encoding="utf-8").splitlines():
        if match := _PART.match(line):
            part = match[1]
        elif match := _SCRIPT.match(line):
            script = f"{part}/{match[1]}"
            found.setdefault(script, "")
        elif script and (match := _USAGE.match(line)):
            found[script] = match[1]
            script = ""
    return found


def scripts(interpreter: bytes = b"python") -> list[str]:
    """The entry scripts, by their path below the remotes."""
    first_lines = {
        each: each.read_bytes().partition(b"\n")[0] for each in REMOTES.rglob("*") if each.is_file()
    }
    return sorted(
        str(path.relative_to(REMOTES))
        for path, line in first_lines.items()
        if line.startswith(b"#!") and interpreter in line
    )


def on_hosts() -> list[str]:
    """Scripts that OpenNebula starts on hosts, where there is no package of ours: they are shell."""
    return scripts(b"/sh")


def action_of(script: str) -> Action:
    """The action that a script runs: `from MODULE import ACTION` and `edge.run(ACTION)`."""
    tree = ast.parse((REMOTES / script).read_text(encoding="utf-8"))
    call = tree.body[-1]
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call), script
    (argument,) = call.value.args
    assert isinstance(argument, ast.Name), script
    for each in tree.body:
        if isinstance(each, ast.ImportFrom):
            for alias in each.names:
                if (alias.asname or alias.name) == argument.id:
                    found: Action = getattr(importlib.import_module(str(each.module)), alias.name)
                    return found
    raise AssertionError(f"{script} does not import {argument.id}")


@pytest.mark.parametrize("script", scripts())
def test_every_script_is_documented_as_it_is(script: str) -> None:
    usage = protocol_of(action_of(script)).usage(script.rpartition("/")[2])
    assert documented().get(script) == usage


def test_nothing_else_is_documented() -> None:
    assert sorted(documented()) == sorted(scripts() + on_hosts())


@pytest.mark.parametrize("script", on_hosts())
def test_a_script_of_hosts_is_documented(script: str) -> None:
    assert documented()[script].split()[0] == script.rpartition("/")[2]
    assert (REMOTES / script).stat().st_mode & 0o111


@pytest.mark.parametrize("script", scripts())
def test_an_entry_script_is_a_few_lines(script: str) -> None:
    lines = (REMOTES / script).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env python3" and len(lines) <= 10
    assert (REMOTES / script).stat().st_mode & 0o111
