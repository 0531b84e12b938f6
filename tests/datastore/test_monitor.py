"""monitor: the figures of the datastore's own template, and an error rather than a zero."""

from __future__ import annotations

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from tests.datastore import scene

MIB = 1 << 20


def monitor(lab: Lab, datastore: int) -> Command:
    return next(lab.images.monitor(lab.oned.datastores[datastore]))


def figures(lab: Lab, datastore: int) -> dict[str, int]:
    lines = scene.answer(lab.run(monitor(lab, datastore))).splitlines()
    assert [line.split("=")[0] for line in lines] == ["USED_MB", "TOTAL_MB", "FREE_MB"]
    return {key: int(value) for key, value in (line.split("=") for line in lines)}


def stored(lab: Lab, datastore: int) -> dict[str, int]:
    found = [each for each in lab.storpool("VolumeTemplatesStatus") if each["name"] == f"one-ds-{datastore}"]
    return found[0]["stored"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("datastore", [100, 101])
def test_figures_of_a_datastore(lab: Lab, datastore: int) -> None:
    there = stored(lab, datastore)
    found = figures(lab, datastore)
    assert found["TOTAL_MB"] == there["capacity"] // MIB
    assert found["FREE_MB"] == there["free"] // MIB
    assert found["USED_MB"] == (there["capacity"] - there["free"]) // MIB


def test_figures_take_one_call(lab: Lab) -> None:
    result = lab.run(monitor(lab, 101))
    assert [call.kind for call in result.calls] == ["api"]


def test_unknown_template_is_an_error(lab: Lab) -> None:
    lab.storpool("VolumeTemplateDelete/one-ds-101", {})
    assert scene.fails(lab, monitor(lab, 101)) == (
        "StorPool has no template one-ds-101; create it for datastore 101"
    )


def test_template_whose_name_only_begins_so_is_another(lab: Lab) -> None:
    lab.storpool("VolumeTemplateDelete/one-ds-101", {})
    for name in ("one-ds-1011", "two-one-ds-101", "one-ds-10"):
        lab.storpool("VolumeTemplateCreate", {"name": name, "replication": 3, "placeAll": "hdd"})
    scene.fails(lab, monitor(lab, 101))


def test_wrong_token_is_an_error_that_does_not_show_it(lab: Lab) -> None:
    host, port, _ = lab.simulator.endpoint
    scene.use(lab, SP_API_HTTP_HOST=host, SP_API_HTTP_PORT=str(port), SP_AUTH_TOKEN="1234567890")
    assert "1234567890" not in scene.fails(lab, monitor(lab, 101))
