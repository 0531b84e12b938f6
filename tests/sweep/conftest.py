"""The sweep's worlds share one installed driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storpool_addon.lab.hosts import NoHosts
from tests.sweep.engine import Place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, installed_tree: str) -> Iterator[Place]:
    """Where the sweep's worlds are; skipped where this machine gives us no hosts."""
    made = Place(installed_tree, str(tmp_path_factory.mktemp("sweep")))
    try:
        made.try_out()
    except NoHosts as reason:
        pytest.skip(str(reason))
    yield made
    made.close()
