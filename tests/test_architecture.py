"""The rules of the code's structure: docs/architecture.md says why they are there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "storpool_addon"

EXITS = ("print", "input", "exit", "quit", "sys.exit", "os._exit", "os.abort")
# A line may import the lines below it, and no neighbour of its own line.
LAYERS = (
    ("edge", "cli"),
    ("driver",),
    ("restoring", "vmm"),
    ("datastore", "tm", "hooks"),
    ("snapshots", "drafts", "remotebackup"),
    ("volumes",),
    ("attaching", "hosts", "domain", "monitoring"),
    ("names", "tags", "qos"),
    ("storpool", "opennebula", "config", "log"),
    ("units", "undo", "locks", "tally", "fences"),
    ("errors",),
)
# Programs beside the driver, and all that they may import of it. The simulator shares no code with the
# client on purpose: shared code would share its bugs.
ASIDE = {"simulator": set(), "lab": {"simulator"}, "installer": {"errors"}, "onhost": set()}
PROGRAMS = {"edge", "cli", *ASIDE}
# What makes a script of OpenNebula's slow to start: seen with python -X importtime.
HEAVY = {
    "argparse", "asyncio", "concurrent.futures", "dataclasses", "email", "http.client", "importlib.metadata",
    "inspect",
    "logging", "multiprocessing", "pathlib", "ssl", "tempfile", "unittest", "urllib.request", "xml", "xmlrpc",
    "lxml", "requests", "yaml", "libvirt",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def scripts() -> list[Path]:
    """The entry scripts: those of remotes/ that are Python."""
    found = [
        path for path in sorted((PROJECT / "remotes").rglob("*")) if path.is_file() and not path.is_symlink()
    ]
    return [path for path in found if b"python" in path.read_bytes().partition(b"\n")[0]]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def part(path: Path) -> str:
    """The part of the package that a module belongs to: its first name below storpool_addon."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def relative(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def nodes_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but for what stands under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from nodes_at_run_time(child)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports."""
    for node in nodes_at_run_time(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: imports are absolute here"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def may_import(importer: str, imported: str) -> bool:
    if importer in ASIDE:
        return imported in ASIDE[importer]
    if imported in ASIDE:
        return importer == "cli"
    rank = {name: at for at, line in enumerate(LAYERS) for name in line}
    return rank[importer] < rank[imported]


def test_every_part_has_its_place() -> None:
    known = {name for line in LAYERS for name in line} | set(ASIDE) | {"__init__", "__main__"}
    assert {part(path) for path in modules()} <= known, "give the new part a line in LAYERS"


def test_imports_point_down() -> None:
    parts = {part(path) for path in modules()}
    wrong = []
    for path in modules():
        for line, name in imports(path):
            imported = name.split(".")[1] if name.startswith("storpool_addon.") else ""
            if imported in parts - {part(path)} and not may_import(part(path), imported):
                wrong.append(f"{relative(path)}:{line}: {part(path)} imports {imported}")
    assert wrong == []


def test_a_script_is_edge_and_its_action() -> None:
    allowed = ("storpool_addon.edge", "storpool_addon.tm", "storpool_addon.datastore", "storpool_addon.vmm",
               "storpool_addon.restoring",
               "storpool_addon.hooks")  # fmt: skip
    for path in scripts():
        assert os.access(path, os.X_OK), relative(path)
        assert len(path.read_text().splitlines()) <= 15, f"{relative(path)} is more than an entry"
        for line, name in imports(path):
            ours = name.startswith("storpool_addon")
            assert not ours or name.startswith(allowed), f"{relative(path)}:{line}: {name}"


def calls(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def test_no_program_is_started_through_a_shell() -> None:
    """A name with a blank or a semicolon is data, wherever it comes from; `bash` gets a constant script."""
    wrong = []
    for path in [*modules(), *scripts(), PROJECT / "install.py"]:
        for line, function, call in calls(path):
            shell = any(keyword.arg == "shell" for keyword in call.keywords)
            if shell or function in (
                "os.system",
                "os.popen",
                "subprocess.getoutput",
                "subprocess.getstatusoutput",
            ):
                wrong.append(f"{relative(path)}:{line}: {function}")
    assert wrong == []


def test_only_programs_print_exit_and_read_argv() -> None:
    wrong = []
    for path in modules():
        if part(path) in PROGRAMS:
            continue
        wrong += [f"{relative(path)}:{line}: {name}" for line, name, _ in calls(path) if name in EXITS]
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "sys.argv",
                "sys.stdout",
                "sys.stdin",
            ):
                wrong.append(f"{relative(path)}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


def test_records_are_named_tuples() -> None:
    """The module dataclasses costs more to import than an action has to spare."""
    wrong = [
        f"{relative(path)}:{line}"
        for path in modules()
        if part(path) not in {*ASIDE, "cli"}
        for line, name in imports(path)
        if name.startswith("dataclasses")
    ]
    assert wrong == []


def test_nothing_is_patched() -> None:
    """Fakes stand at the wire, below every line that is shipped."""
    wrong = [
        f"{relative(path)}:{line}: {name}"
        for path in sorted((PROJECT / "tests").rglob("*.py"))
        for line, name in imports(path)
        if name.startswith(("unittest.mock", "mock"))
    ]
    assert wrong == []


def action_modules() -> list[str]:
    """What the entry scripts import of the package; all of it runs before an action's first line."""
    return sorted(
        {name for path in scripts() for _, name in imports(path) if name.startswith("storpool_addon")}
    )


LOAD = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
module, _, name = sys.argv[2].rpartition(".")
getattr(importlib.import_module(module), name, None) or importlib.import_module(sys.argv[2])
print(*sorted(set(sys.argv[3:]) & set(sys.modules)))
"""


@pytest.mark.parametrize("name", action_modules())
def test_an_action_starts_without_heavy_modules(name: str) -> None:
    """Without site-packages: a module of others at the top of a file is not even found."""
    argv = [sys.executable, "-I", "-S", "-c", LOAD, str(PROJECT), name, *sorted(HEAVY)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("edge", "errors", True),
        ("tm", "volumes", True),
        ("tm", "datastore", False),
        ("volumes", "tm", False),
        ("storpool", "opennebula", False),
        ("errors", "units", False),
        ("simulator", "storpool", False),
        ("cli", "simulator", True),
        ("tm", "simulator", False),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed
