"""The example script, run as a person runs it, against the simulated cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.simulator import Simulator
from storpool_addon.storpool import Api, Endpoint

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "state", clients={11: "node1"}) as simulator:
        yield simulator


def run(simulator: Simulator, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    where = simulator.endpoint
    environ = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "SP_API_HTTP_HOST": where.host,
        "SP_API_HTTP_PORT": str(where.port),
        "SP_AUTH_TOKEN": token or where.token,
    }
    command = [sys.executable, str(CHECKOUT / "examples" / "list_clone_attach.py"), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_it_lists_clones_and_attaches_and_can_be_repeated(sim: Simulator) -> None:
    where = sim.endpoint
    api = Api(Endpoint((where.host,), where.port, where.token))
    api.volume_create("golden", size=1 << 30)
    for word in ("made", "is there already"):
        done = run(sim, "golden", "clone", "11")
        assert (done.returncode, done.stderr) == (0, "")
        assert word in done.stdout
    assert [(each.volume, each.client) for each in api.attachments_list()] == [("clone", 11)]
    listed = run(sim).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["clone", "golden"]
    assert "1024 MiB" in listed[0]
    assert listed[0].endswith("at 11 rw")
    assert listed[1].endswith("at -")


def test_it_leaves_anothers_volume_alone(sim: Simulator) -> None:
    where = sim.endpoint
    api = Api(Endpoint((where.host,), where.port, where.token))
    api.volume_create("golden", size=1 << 20)
    api.volume_create("clone", size=1 << 20)
    done = run(sim, "golden", "clone", "11")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("StorPool refused VolumeCreate clone: ")
    assert api.attachments_list() == []


@pytest.mark.parametrize("arguments", [["golden"], ["golden", "clone", "node1"], ["a", "b", "1", "2"]])
def test_wrong_arguments_show_how_to_use_it(sim: Simulator, arguments: list[str]) -> None:
    done = run(sim, *arguments)
    assert done.returncode == 2
    assert "VOLUME CLONE CLIENT_ID" in done.stderr


def test_a_failure_is_one_plain_line(sim: Simulator) -> None:
    done = run(sim, token="123456789")
    assert done.returncode == 1
    assert done.stderr.startswith("StorPool refused AttachmentsList: ")
    assert done.stderr.count("\n") == 1
    assert "123456789" not in done.stderr
