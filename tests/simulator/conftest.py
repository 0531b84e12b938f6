from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.plainapi import PlainApi

CLIENTS = {11: "node1", 12: "node2"}


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sim(tmp_path: Path, clock: Clock) -> Iterator[Simulator]:
    with Simulator(tmp_path / "state", clients=CLIENTS, templates=["one-ds-1"], clock=clock) as simulator:
        yield simulator


@pytest.fixture
def api(sim: Simulator) -> PlainApi:
    return PlainApi(sim.endpoint)
