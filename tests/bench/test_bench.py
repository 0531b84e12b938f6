"""The benchmark itself: what it counts, how it judges, and one round of it from end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import deploying, frozen, images, limits, picture, rows, world
from bench.__main__ import main
from bench.limits import Counts
from bench.rows import Row
from bench.stopwatch import measured
from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import Call
from storpool_addon.lab.hosts import NoHosts
from storpool_addon.lab.lab import Lab

ONE_OF_EACH = [
    Call("rpc", "one.vm.info 42"),
    Call("rpc", "one.hostpool.info"),
    Call("api", "Volume one-img-7"),
    Call("api", "VolumesList"),
    Call("ssh", "node1"),
    Call("child", "qemu-img"),
]


def test_calls_are_counted_by_kind_and_lists_of_the_cluster_among_them() -> None:
    assert Counts.of(ONE_OF_EACH) == Counts(api=2, rpc=2, ssh=1, children=1, cluster_lists=2)


def test_a_count_over_its_limit_is_named() -> None:
    limit = Counts(api=2, rpc=3, ssh=1)
    assert Counts(2, 3, 1).over(limit) == []
    assert Counts(3, 3, 1, cluster_lists=1).over(limit) == ["api", "cluster_lists"]


def test_no_action_may_list_a_cluster() -> None:
    assert {limit.cluster_lists for limit in limits.CALLS.values()} == {0}


@pytest.mark.parametrize(
    ("taken_ms", "counts", "verdict", "failure"),
    [
        ([100, 170, 900], Counts(2, 3, 1), "ok", False),
        ([100, 171, 900], Counts(2, 3, 1), "over: ratio", False),
        ([100, 100, 100], Counts(2, 4, 1), "over: rpc", True),
    ],
)
def test_a_slow_round_is_marked_and_a_call_too_many_fails(
    taken_ms: list[float], counts: Counts, verdict: str, failure: bool
) -> None:
    row = rows.action("tm/clone", taken_ms, 10.0, counts)
    assert (row.verdict, row.is_failure) == (verdict, failure)


@pytest.mark.parametrize(("ours_ms", "verdict"), [(1000.0, "ok"), (1112.0, "over: ratio")])
def test_an_import_is_judged_by_qemu_img(ours_ms: float, verdict: str) -> None:
    row = images.row("import/dense", ours_ms, 1000.0)
    assert row.verdict == verdict
    assert not row.is_failure


@pytest.mark.parametrize(("longest_ms", "verdict"), [(1000.0, "ok"), (1001.0, "over: longest_ms")])
def test_the_longest_freeze_counts(longest_ms: float, verdict: str) -> None:
    assert frozen.row([1.0, longest_ms, 2.0]).verdict == verdict


def test_a_start_of_a_vm_is_judged_by_its_median() -> None:
    assert deploying.row([100.0, 250.0, 900.0]).verdict == "ok"
    assert deploying.row([100.0, 251.0, 252.0]).verdict == "over: median_ms"


def test_the_table_has_a_block_for_each_kind_of_row() -> None:
    clone = rows.action("tm/clone", [34.0], 10.0, Counts(2, 3, 1))
    blocks = rows.table([clone, Row({"name": "simulator/load", "load_s": 11.0}, ("load_s",))]).split("\n\n")
    assert blocks[0].splitlines()[1].split() == [
        "tm/clone", "34.0", "10.0", "2", "3", "1", "0", "0", "3.4", "ok"
    ]  # fmt: skip
    assert blocks[1].splitlines()[1] == "simulator/load    11.0  over: load_s"


def test_results_are_one_json_list_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rows.write(str(tmp_path / "results.json"), [Row({"name": "b", "x_ms": 1.5}), Row({"name": "a"})])
    assert json.loads((tmp_path / "results.json").read_text()) == [{"name": "b", "x_ms": 1.5}, {"name": "a"}]
    assert os.listdir(tmp_path) == ["results.json"]


def test_the_stopwatch_sees_output_exit_code_and_time() -> None:
    found = measured(["/bin/sh", "-c", "cat; echo no >&2; sleep 0.02; exit 4"], "given")
    assert (found["status"], found["stdout"], found["stderr"]) == (4, "given", "no\n")
    assert 20 <= float(str(found["ms"])) < 5000


def test_a_signal_is_a_negative_exit_code() -> None:
    assert measured(["/bin/sh", "-c", "kill -9 $$"], "")["status"] == -9


def test_the_picture_brings_back_what_a_run_changed(lab: Lab) -> None:
    kept, gone = lab.give_image(), lab.give_image()
    lab.storpool("VolumesReassignWait", {"reassign": [{"volume": kept.source.split("/")[1], "rw": [11]}]})
    before = picture.take(lab)
    name = f"one-img-{kept.id}"
    lab.storpool("VolumesReassignWait", {"reassign": [{"volume": name, "rw": [12], "detach": "all"}]})
    lab.storpool(f"VolumeUpdate/{name}", {"size": 8 << 20, "tags": {"qc": "gold", "nvm": "42"}})
    lab.storpool(f"VolumeDelete/one-img-{gone.id}", {})
    lab.storpool("VolumeCreate", {"name": "one-img-9-42-0", "size": 1 << 20})
    assert picture.take(lab) != before
    picture.restore(lab, before)
    assert picture.take(lab) == before


@pytest.mark.usefixtures("lab")  # Skipped where a world cannot be had.
def test_one_round_of_an_action_from_end_to_end() -> None:
    argv = [sys.executable, "-m", "bench", "--rounds", "1", "--only", "tm/mkswap"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=world.CHECKOUT)
    assert done.returncode == 0, done.stderr
    line = next(line.split() for line in done.stdout.splitlines() if line.startswith("tm/mkswap"))
    assert line[3:8] == ["2", "2", "1", "0", "0"]
    assert float(line[1]) > float(line[2]) > 0


def test_an_action_that_fails_is_no_measurement(tmp_path: Path) -> None:
    try:
        with world.world(str(tmp_path)) as built, pytest.raises(world.Failed, match="exit code 2"):
            built.script(Command("tm/storpool/clone", ("too", "few")))
    except NoHosts as reason:
        pytest.skip(str(reason))


def test_a_name_that_nothing_has_is_refused() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--only", "no/such"])
    assert refused.value.code == 2
