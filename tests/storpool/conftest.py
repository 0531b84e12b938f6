"""A simulated cluster for tests of what is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.simulator import Simulator
from tests.storpool.repeating import (
    SIZE,
    TAGS,
    Cluster,
    api_of,
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with (
        Simulator(tmp_path / "near", clients={11: "node1", 12: "node2"}, templates=["one-ds-1"]) as near,
        Simulator(tmp_path / "far", cluster_id="f.r") as far,
    ):
        near.connect(far, location="far", known_as="near")
        api = api_of(near)
        api.volume_create("v", size=SIZE, tags=TAGS)
        api.volume_create("w", size=SIZE)
        api.volume_snapshot("v", name="s")
        yield Cluster(near, api, far)
