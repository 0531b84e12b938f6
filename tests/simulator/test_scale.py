"""A big cluster: loaded whole, and single calls that touch what they name."""

from __future__ import annotations

from pathlib import Path

from storpool_addon.simulator import Simulator
from storpool_addon.simulator.population import measure, populate
from tests.simulator.plainapi import PlainApi

VOLUMES, SNAPSHOTS = 3000, 6000


def test_big_cluster_is_loaded_whole(tmp_path: Path) -> None:
    first = Simulator(tmp_path)
    populate(first.cluster, VOLUMES, SNAPSHOTS)
    expected = first.cluster.volumes, first.cluster.snapshots, first.cluster.generation
    first.stop()
    with Simulator(tmp_path) as sim:
        assert (sim.cluster.volumes, sim.cluster.snapshots, sim.cluster.generation) == expected
        api = PlainApi(sim.endpoint)
        assert len(api.get("VolumesList")) == VOLUMES
        assert len(api.get("SnapshotsList")) == SNAPSHOTS
        assert [each["name"] for each in api.get("VolumeListSnapshots/vol-7")] == ["snap-15", "snap-14"]
        api.post("VolumeCreate", {"name": "clone", "parent": "snap-15"})
        assert api.snapshot("snap-15")["onVolume"] == "vol-7"
        api.post("VolumeDelete/vol-7")
        assert api.snapshot("snap-15")["onVolume"] == "clone"


def test_measure_reports_every_kind_of_call(tmp_path: Path) -> None:
    figures = measure(str(tmp_path), volumes=100, snapshots=200)
    assert set(figures) == {"load_s", "volume_ms", "create_ms", "attach_ms", "detach_ms", "delete_ms"}
    assert all(each > 0 for each in figures.values())
