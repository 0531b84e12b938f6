"""A datastore's token that oned keeps encrypted: asked for in the clear, or said to be out of reach."""

from __future__ import annotations

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from tests.sweep import scene
from tests.tm import cloud


@pytest.fixture
def secretive(lab: Lab) -> Lab:
    """The token is in the datastores alone, and encrypted there."""
    conf = [line for line in lab.storpool_conf().splitlines() if "SP_AUTH_TOKEN" not in line]
    lab.hosts.frontend.write("/etc/storpool.conf", "\n".join(conf) + "\n", 0o640)
    for datastore in lab.oned.datastores.values():
        datastore.attributes["SP_AUTH_TOKEN"] = lab.simulator.token
        datastore.encrypted.add("SP_AUTH_TOKEN")
    return lab


def test_a_vms_whole_life(secretive: Lab) -> None:
    lab = secretive
    image = lab.do(lab.images.create(lab.oned.datastores[101], size_mib=4))
    copy = lab.do(lab.images.clone(image))
    copy.persistent = True
    vm = lab.vms.create(image, copy, Volatile(4), Volatile(4, "swap"), context=False)
    lab.do(lab.vms.deploy(vm, "node1"))
    lab.do(lab.vms.resize_disk(vm, 0, 8))
    saved = lab.do(lab.saving.disk_saveas(vm, 0))
    lab.do(lab.disk_snapshots.create(vm, 0))
    lab.do(lab.vms.live_migrate(vm, "node2"))
    lab.do(lab.vms.stop(vm))
    lab.do(lab.vms.resume(vm, "node1"))
    lab.do(lab.vms.terminate(vm))
    for datastore in lab.oned.datastores.values():
        lab.do(lab.images.monitor(datastore))
    lab.do(lab.market.create(saved))
    lab.do(lab.images.delete(saved))
    lab.do(lab.images.delete(image))
    lab.do(lab.images.delete(copy))
    assert cloud.volumes(lab) == set()


def test_a_saved_disk_needs_no_token(secretive: Lab) -> None:
    """oned decrypts nothing for this `mkfs`; only a name is asked for."""
    lab = secretive
    lab.oned.may_decrypt = False
    image = lab.images.allocate(lab.oned.datastores[101], "OS", False, 4)
    image.format = "save_as"
    result = lab.run(next(lab.images.fill(image)))
    assert (result.exit_code, result.stdout) == (0, f"one-ds-101/one-img-{image.id}\n")
    assert result.calls == []


def transfer(lab: Lab) -> Command:
    return scene.upto(lab.vms.deploy(lab.vms.create(lab.give_image()), "node1"), "clone")


def image_clone(lab: Lab) -> Command:
    return next(lab.images.clone(lab.give_image()))


def export(lab: Lab) -> Command:
    return lab.market.export(lab.give_image(), 31)


@pytest.mark.parametrize("action", [transfer, image_clone, export])
def test_an_account_that_may_not_decrypt(secretive: Lab, action: object) -> None:
    secretive.oned.may_decrypt = False
    command = action(secretive)  # type: ignore[operator]
    line = cloud.refused(secretive, command)
    assert "datastore 101: oned does not decrypt SP_AUTH_TOKEN for this account" in line
