"""Every test of the installer has a front-end of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.install.front import Front, make_checkout


@pytest.fixture
def front(tmp_path: Path) -> Front:
    made = Front(tmp_path / "checkout", tmp_path / "root")
    made.checkout.mkdir()
    make_checkout(made.checkout)
    return made
