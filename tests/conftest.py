"""Fixtures that any test may ask for: a simulated StorPool, the installed driver, a whole cloud."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.lab.guest import Guest, NoGuest
from storpool_addon.lab.guest import guest as small_guest
from storpool_addon.lab.hosts import NoHosts
from storpool_addon.lab.lab import Lab
from storpool_addon.simulator import Simulator
from tests import programs, sharing

CHECKOUT = Path(__file__).resolve().parent.parent


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The marker `needs`, before fixtures are made that the programs are needed for."""
    for mark in item.iter_markers("needs"):
        programs.require(*mark.args)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which tests begin; see `sharing`."""
    items[:] = sharing.in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing.Sharing | None:
    """Who shares out the tests of `make test`; see `sharing`."""
    return sharing.Sharing(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were skipped: a line for each reason, and not for each test."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].strip().replace("Skipped: ", "", 1) for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5} skipped: {reason}")


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """StorPool alone: two clients, the templates of datastores 100 and 101."""
    clients, templates = {11: "node1", 12: "node2"}, ["one-ds-100", "one-ds-101"]
    with Simulator(tmp_path / "storpool", clients=clients, templates=templates) as running:
        yield running


@pytest.fixture(scope="session")
def installed_tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The driver as install.py installs it, once for all tests: what they run is what a site runs."""
    tree = tmp_path_factory.mktemp("installed")
    # Another user's driver processes read it when hosts are real.
    os.chmod(tree, 0o755)
    command = [sys.executable, str(CHECKOUT / "install.py"), "--root", str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return str(tree)


@pytest.fixture
def lab(tmp_path: Path, installed_tree: str) -> Iterator[Lab]:
    """A cloud of two fast hosts."""
    try:
        world = Lab(str(tmp_path / "lab"), installed_tree)
    except NoHosts as reason:
        pytest.skip(str(reason))
    with world:
        yield world


@pytest.fixture(scope="session")
def libvirt_lab(installed_tree: str) -> Iterator[Lab]:
    """A cloud of two real hosts that run guests, for all tests of a process: what one makes, it takes away.

    Tests that use it carry `pytest.mark.xdist_group("libvirt")`, so that there is one.
    """
    programs.require("libvirtd", "virsh", "qemu-system-x86_64")
    yield from _real(installed_tree, libvirt=True)


@pytest.fixture(scope="session")
def guest() -> Guest:
    """A small Linux that boots, made once for a checkout."""
    try:
        return small_guest()
    except NoGuest as reason:
        pytest.skip(str(reason))


@pytest.fixture
def real_lab(installed_tree: str) -> Iterator[Lab]:
    """A cloud of two real hosts: sshd, block devices, a service user that is not root."""
    yield from _real(installed_tree)


def _real(installed_tree: str, *, libvirt: bool = False) -> Iterator[Lab]:
    # Outside of pytest's own directories, which are closed to other users.
    directory = tempfile.mkdtemp(prefix="storpool-lab-")
    try:
        with Lab(directory, installed_tree, real=True, libvirt=libvirt) as world:
            yield world
    except NoHosts as reason:
        pytest.skip(str(reason))
    finally:
        shutil.rmtree(directory)
