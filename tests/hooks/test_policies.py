"""Policies of volumes: all of them, one VM's, one image's; by command and by the hook of API calls."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from storpool_addon.lab import conductor
from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from storpool_addon.simulator.faults import REFUSE, Fault, Moment, Verdict
from tests import tool
from tests.hooks.calls import api_call
from tests.second import Second
from tests.sweep import scene
from tests.tm import cloud

COPY, RAW, ISO, NVRAM = "one-img-7-42-0", "one-sys-42-2-raw", "one-sys-42-3-iso", "one-sys-42-NVRAM"
MASTER, OWN, IDLE, IDLE_SNAPSHOT = "one-img-7", "one-img-8", "one-img-9", "one-img-9-snap0"
SILVER_DAILY = {"qc": "silver", "vc-policy": "daily"}


def begin(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """Start `storpool-addon policies` on the front-end."""
    return tool.start(lab, "policies", *words)


def end(process: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    """Exit code, lines of output and of errors."""
    code, output, errors = tool.end(process)
    return code, output.splitlines(), errors.splitlines()


def run(lab: Lab, *words: str) -> tuple[int, list[str], list[str]]:
    """Start it, and wait for its end."""
    return end(begin(lab, *words))


def policies(lab: Lab, *names: str) -> dict[str, dict[str, str]]:
    """What these volumes have of the two tags."""
    found = {name: cloud.tags(lab, name) for name in names}
    return {
        name: {key: tags[key] for key in ("qc", "vc-policy") if key in tags} for name, tags in found.items()
    }


def idle_image(lab: Lab) -> Image:
    """An image that no VM has, with a snapshot, and a policy that was not OpenNebula's to give."""
    image = lab.give_image(persistent=True)
    image.attributes["SP_QOSCLASS"] = "bronze"
    name = f"one-img-{image.id}"
    lab.storpool(f"VolumeUpdate/{name}", {"tags": {"vc-policy": "by-hand", "qc": "stale"}})
    image.chain.create("first", 4)
    lab.storpool(f"VolumeSnapshot/{name}", {"name": f"{name}-snap0", "tags": scene.OURS})
    return image


def machine(lab: Lab) -> Vm:
    """A VM with a copy, an image of its own, a volatile disk, a context image and UEFI variables."""
    vm = scene.machine(lab, lab.give_image(), lab.give_image(persistent=True), Volatile(8))
    scene.volume(lab, NVRAM, {**scene.OURS, "nvm": "42", "type": "NVRAM", "vc-policy": "old"})
    vm.user_attributes.update(SP_QOSCLASS="silver;0:gold", VC_POLICY="daily")
    return vm


@pytest.fixture
def world(lab: Lab) -> Lab:
    """VM 42, an idle image, and volumes that are none of this reconciler's business."""
    machine(lab)
    idle_image(lab)
    for name, tags, snapshot in scene.NEIGHBOURS:
        cloud.foreign(lab, name, {**tags, "qc": "theirs", "vc-policy": "theirs"}, snapshot)
    return lab


def counted(lab: Lab, *words: str) -> dict[str, int]:
    """How often `policies` asked StorPool for what, in a run that has to succeed."""
    lab.conductor.begin(None)
    code, _, errors = run(lab, *words)
    found: dict[str, int] = {}
    for call in lab.conductor.end():
        if call.kind == "api":
            query = call.what.split()[0]
            found[query] = found.get(query, 0) + 1
    assert (code, errors) == (0, []), errors
    return found


WANTED = {
    COPY: {"qc": "gold", "vc-policy": "daily"},
    OWN: SILVER_DAILY,
    RAW: SILVER_DAILY,
    ISO: SILVER_DAILY,
    NVRAM: SILVER_DAILY,
    MASTER: {"qc": "standard"},
    IDLE: {"qc": "bronze", "vc-policy": "by-hand"},
}


def test_all_volumes_get_what_they_should_have_and_nothing_else_is_touched(world: Lab) -> None:
    world.configure(DEFAULT_QOSCLASS="standard")
    before = cloud.picture(world)
    code, planned, errors = run(world, "--dry-run")
    assert (code, errors) == (0, []) and cloud.picture(world) == before
    assert f"{COPY} (VM 42): qc - -> gold, vc-policy - -> daily" in planned
    assert f"{IDLE} (image 9): qc stale -> bronze" in planned and planned[-1] == "8 volumes would be changed"
    calls = counted(world)
    lists = {query: calls[query] for query in calls if query.endswith("List")}
    assert lists == {"VolumesList": 1, "SnapshotsList": 1}
    assert (calls["VolumeUpdate"], calls["SnapshotUpdate"]) == (len(WANTED), 1)
    assert policies(world, *WANTED) == WANTED
    (snapshot,) = world.storpool(f"Snapshot/{IDLE_SNAPSHOT}")
    assert snapshot["tags"] == {**scene.OURS, "qc": "bronze"}
    after = cloud.picture(world)
    assert {name for name in before if before[name] != after[name]} == {*WANTED, "snapshots"}
    world.oned.raft_state = 2
    assert run(world, "--leader-only") == (0, ["another front-end leads, which sets policies"], [])
    world.oned.raft_state = 3
    assert "VolumeUpdate" not in counted(world, "--leader-only")

    vm, image = world.oned.vms[42], world.oned.images[9]
    vm.user_attributes.update(SP_QOSCLASS="", VC_POLICY="")
    image.attributes["SP_QOSCLASS"] = "tin"
    assert counted(world, "--image", "9")["VolumeUpdate"] == 1
    assert policies(world, IDLE, COPY)[IDLE]["qc"] == "tin" and policies(world, COPY)[COPY] == WANTED[COPY]
    assert counted(world, "--vm", "42")["VolumeUpdate"] == 5
    assert policies(world, COPY, OWN) == {COPY: {"qc": "standard"}, OWN: {"qc": "standard"}}


def test_one_bad_vm_datastore_or_volume_does_not_stop_the_rest(world: Lab) -> None:
    other = scene.machine(world, Volatile(4))
    other.user_attributes["SP_QOSCLASS"] = "no class"
    third = scene.machine(world, Volatile(4), context=False)
    third.user_attributes["SP_QOSCLASS"] = "no;class;$(x)"
    homeless = scene.machine(world, Volatile(4))
    world.oned.datastores[109] = world.oned.datastores[100].__class__(
        109, "gone", True, dict(world.oned.datastores[100].attributes), tm_mad="storpool"
    )
    homeless.history[-1].system = world.oned.datastores.pop(109)
    world.configure(SP_API_DEADLINE=5)
    elsewhere = {"SP_API_HTTP_HOST": "127.0.0.1", "SP_AUTH_TOKEN": "1"}
    world.oned.add_image_datastore(105, "dead", SP_API_HTTP_PORT="1", **elsewhere)
    world.oned.add_image_datastore(106, "odd", SP_API_HTTP_PORT="no port", **elsewhere)
    # The dead cluster comes first, and delays nothing of the other one.
    world.oned.datastores = dict(sorted(world.oned.datastores.items(), key=lambda each: each[0] != 105))
    raw = f"~{cloud.volume(world, RAW)['globalId']}"
    fault = Fault(Verdict.error("busy", "try later"), "VolumeUpdate", raw, times=0)
    world.simulator.faults.set([fault])
    process = begin(world)
    while policies(world, IDLE)[IDLE] != WANTED[IDLE]:
        assert process.poll() is None, end(process)
        time.sleep(0.02)
    assert process.poll() is None
    code, _, errors = end(process)
    assert code == 1
    text = "\n".join(errors)
    assert "VM 44: " in text and "'$(x)'" in text
    assert "VM 45 is in datastore 109, which OpenNebula does not have" in text
    assert "the cluster of datastores 105: " in text and "datastore 106: " in text
    assert f"{RAW}: " in text and "try later" in text
    assert errors[-1] == "storpool-addon: troubles: 5; all else was looked at", errors
    assert policies(world, COPY)[COPY] == WANTED[COPY] and policies(world, "one-sys-43-0-raw") == {
        "one-sys-43-0-raw": {"qc": "noclass"}
    }


def test_who_does_not_answer_once_is_asked_no_more(world: Lab) -> None:
    world.configure(SP_API_DEADLINE=1)
    world.simulator.faults.set([Fault(REFUSE, "Volume", times=0)])
    code, output, errors = run(world)
    assert (code, output[-1], len(errors)) == (1, "0 volumes were changed", 2), errors
    assert "StorPool did not answer Volume" in errors[0], errors

    world.simulator.faults.set([])
    world.configure(ONE_CALL_RETRIES=0)
    world.conductor.begin()
    run(world, "--dry-run")
    calls = world.conductor.end()
    first = next(at for at, call in enumerate(calls, 1) if call.what.startswith("one.vm.info"))
    world.conductor.begin(conductor.Fault(first, "after"))
    code, output, errors = run(world)
    assert world.conductor.end()[first:] == []
    assert (code, output[-1], len(errors)) == (1, "0 volumes were changed", 2), errors
    assert "is oned running?" in errors[0], errors


def test_clusters_that_answer_are_done_at_once(lab: Lab, tmp_path: Path) -> None:
    waiting = threading.Barrier(2, timeout=20)

    def meet(moment: Moment) -> None:
        if (moment.query, moment.when) == ("VolumesList", "before"):
            waiting.wait()

    with Second(lab, tmp_path) as second:
        for image in (lab.give_image(), second.give_image()):
            image.attributes["SP_QOSCLASS"] = f"of-{image.id}"
        lab.simulator.gate = second.simulator.gate = meet
        assert run(lab)[::2] == (0, []) and not waiting.broken
        lab.simulator.gate = second.simulator.gate = None
        assert [each["tags"]["qc"] for each in lab.storpool("VolumesList")] == ["of-7"]
        assert [each["tags"]["qc"] for each in second.ask("VolumesList")] == ["of-8"]


def hook(kind: str, number: int, result: int = 1) -> Command:
    """A VM or an image was changed."""
    return api_call("policies", kind, number, result)


def test_the_hook_follows_a_vm_and_an_image_at_once(world: Lab) -> None:
    cloud.succeeds(world, hook("vm", 42, result=0))
    assert policies(world, COPY) == {COPY: {}}
    result = cloud.succeeds(world, hook("vm", 42))
    assert policies(world, COPY, OWN, RAW, ISO, NVRAM) == {
        name: WANTED[name] for name in (COPY, OWN, RAW, ISO, NVRAM)
    }
    assert policies(world, IDLE)[IDLE]["qc"] == "stale"
    assert not [each for each in cloud.asks_for_lists(result) if "datastorepool" not in each]
    cloud.succeeds(world, hook("vm", 42), times=2)
    cloud.succeeds(world, hook("image", 9))
    assert policies(world, IDLE)[IDLE] == WANTED[IDLE]
    assert "999" in cloud.fails(world, hook("vm", 999))
    assert "ARGUMENTS" in cloud.refused(world, Command("hooks/storpool/policies", (), b"PENBTEw="), code=2)


def test_an_image_that_is_given_back_meanwhile_keeps_nothing_of_the_vm(world: Lab) -> None:
    """Both before the volume is looked at again, and between that look and the update."""
    own = f"~{cloud.volume(world, OWN)['globalId']}"
    released = {"nvm": "", "vc-policy": "", "type": "", "diskid": "", "qc": ""}
    for aim in (("VolumesList", "after"), ("VolumeUpdate", "before")):
        scene.volumes(world, world.oned.vms[42])[OWN]()
        met: list[Moment] = []

        def give_back(moment: Moment, aim: tuple[str, str] = aim, met: list[Moment] = met) -> Verdict | None:
            if (moment.query, moment.when) == aim and moment.args in ((), (own,)) and not met:
                met.append(moment)
                world.storpool(f"VolumeUpdate/{OWN}", {"tags": released})
            return None

        world.simulator.gate = give_back
        assert run(world)[0] == 0 and met
        assert policies(world, OWN, RAW) == {OWN: {}, RAW: SILVER_DAILY}, aim
