"""storpool-addon deleted and undelete: what delayed delete keeps can be seen and had back, by name."""

from __future__ import annotations

import json

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from tests.sweep import scene
from tests.tm import cloud
from tests.tool import run

COPY, RAW = "one-img-7-42-0", "one-sys-42-1-raw"


@pytest.fixture
def cloud_after(lab: Lab) -> Lab:
    """A cloud in which VM 42 was terminated; and things that are not a deleted disk of ours."""
    vm = scene.machine(lab, lab.give_image(content=b"hello"), Volatile(8))
    lab.do(lab.vms.terminate(vm))
    cloud.foreign(lab, "one-img-9", {"virt": "one", "nloc": "one"}, "one-img-9-snap0")
    cloud.foreign(
        lab, "two-img-9", {"virt": "one", "nloc": "two", "deleted": "one-img-7"}, "two-img-9-deleted-x.y"
    )
    return lab


def test_the_list(cloud_after: Lab) -> None:
    code, out, err = run(cloud_after, "deleted", "--json")
    assert (code, err) == (0, "")
    found = {each["volume"]: each for each in json.loads(out)}
    assert set(found) == {COPY, RAW}
    assert found[COPY]["vm"] == "42" and found[COPY]["size"] == 4 * cloud.MIB
    assert found[RAW]["snapshot"].startswith(f"{RAW}-deleted-")


def test_the_table(cloud_after: Lab) -> None:
    code, out, _ = run(cloud_after, "deleted")
    lines = out.splitlines()
    assert code == 0 and lines[0].split()[:2] == ["VOLUME", "VM"]
    assert [line.split()[:2] for line in lines[1:]] == [[COPY, "42"], [RAW, "42"]]
    assert all("48.0 h" in line or "47.9 h" in line or "48 h" in line for line in lines[1:])


def test_nothing_was_deleted(lab: Lab) -> None:
    assert run(lab, "deleted", "--json") == (0, "[]\n", "")


@pytest.mark.parametrize("by", ["volume", "snapshot"])
def test_a_disk_comes_back_under_its_name(cloud_after: Lab, by: str) -> None:
    (kept,) = [
        each for each in json.loads(run(cloud_after, "deleted", "--json")[1]) if each["volume"] == COPY
    ]
    assert run(cloud_after, "undelete", kept[by]) == (0, f"{COPY}\n", "")
    assert cloud_after.read_volume(COPY, 5) == b"hello"
    tags = cloud.tags(cloud_after, COPY)
    assert tags["nloc"] == "one" and "deleted" not in tags


def test_a_disk_comes_back_under_another_name(cloud_after: Lab) -> None:
    assert run(cloud_after, "undelete", COPY, "--as", "one-img-70") == (0, "one-img-70\n", "")
    assert cloud_after.read_volume("one-img-70", 5) == b"hello"


def test_the_newest_of_several(lab: Lab) -> None:
    vm = scene.machine(lab, lab.give_image(content=b"first"))
    lab.do(lab.vms.terminate(vm))
    lab.simulator.advance(3600)
    lab.storpool(
        "VolumeCreate", {"name": COPY, "baseOn": "one-img-7", "tags": {"virt": "one", "nloc": "one"}}
    )
    lab.write_volume(COPY, b"newer")
    vm.state, vm.lcm_state = 3, 11
    vm.disks[0] = {
        "DISK_ID": "0", "CLONE": "YES", "IMAGE_ID": "7", "SOURCE": "one-ds-101/one-img-7", "TYPE": "BLOCK",
        "DATASTORE_ID": "101", "TM_MAD": "storpool", "SIZE": "4",
    }  # fmt: skip
    cloud.succeeds(lab, scene.upto(lab.vms.terminate(vm), "delete"))
    assert run(lab, "undelete", COPY)[0] == 0
    assert lab.read_volume(COPY, 5) == b"newer"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one-img-1"], "no deleted disk one-img-1 is kept"),
        (["two-img-9"], "no deleted disk two-img-9 is kept"),
        (["two-img-9-deleted-x.y"], "no deleted disk two-img-9-deleted-x.y is kept"),
        ([COPY, "--as", "one-img-7"], "one-img-7"),
        ([COPY, "--as", "a/b"], "a/b"),
    ],
)
def test_what_cannot_be_had_back(cloud_after: Lab, words: list[str], message: str) -> None:
    before = cloud.volumes(cloud_after)
    code, out, err = run(cloud_after, "undelete", *words)
    assert (code in (1, 2), out, err.count("\n")) == (True, "", 1) and message in err
    assert cloud.volumes(cloud_after) == before


def test_storpool_cannot_be_asked(lab: Lab) -> None:
    lab.configure(SP_API_DEADLINE=1)
    lab.hosts.frontend.write(
        "/etc/storpool.conf", "SP_API_HTTP_HOST=127.0.0.1\nSP_API_HTTP_PORT=1\nSP_AUTH_TOKEN=1\n"
    )
    code, out, err = run(lab, "deleted")
    assert (code, out, err.count("\n")) == (1, "", 1) and "127.0.0.1:1" in err
