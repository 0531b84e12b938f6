"""monitor of the system datastore: what its StorPool template has, and never a guess."""

from __future__ import annotations

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.simulator.faults import Fault, Verdict
from tests.sweep import scene
from tests.tm import cloud


def ready(lab: Lab) -> Command:
    return scene.upto(lab.images.monitor(lab.oned.datastores[100]), "monitor")


def test_three_figures_that_add_up(lab: Lab) -> None:
    result = lab.run(ready(lab))
    assert (result.exit_code, result.stderr) == (0, "")
    figures = {name: int(value) for name, value in (line.split("=") for line in result.stdout.splitlines())}
    assert list(figures) == ["USED_MB", "TOTAL_MB", "FREE_MB"]
    assert figures["TOTAL_MB"] > 0 and figures["FREE_MB"] > 0
    assert abs(figures["USED_MB"] + figures["FREE_MB"] - figures["TOTAL_MB"]) <= 1
    assert lab.run(ready(lab)).stdout == result.stdout
    assert [call.what.strip() for call in result.calls] == ["VolumeTemplatesStatus"]


@pytest.mark.parametrize("trouble", ["refuse", "no template"])
def test_unknown_is_an_error_and_never_zero(lab: Lab, trouble: str) -> None:
    """I12."""
    lab.configure(SP_API_DEADLINE=1)
    if trouble == "refuse":
        lab.simulator.faults.set([Fault(Verdict("refuse"), times=0)])
    else:
        lab.storpool("VolumeTemplateDelete/one-ds-100", {})
    line = cloud.fails(lab, ready(lab))
    assert ("VolumeTemplatesStatus" if trouble == "refuse" else "one-ds-100") in line
