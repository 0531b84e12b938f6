"""The rows about images that several VMs have: VM 42 is acted upon, and VM 43 has the same image."""

from __future__ import annotations

from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Image
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row
from tests.sweep.transfer_rows import AWAY_FROM_HOST, CONTENT, ON, Prepare, Verb, migrate_off, terminate

VOLUME = "one-img-7"


def image(lab: Ground) -> Image:
    made = lab.give_image(content=CONTENT, persistent=True)
    made.attributes["PERSISTENT_TYPE"] = "SHAREABLE"
    return made


def another(lab: Ground, shared: Image, *hosts: str) -> None:
    """The other VM, on node1. hosts: where VM 42 has the image already."""
    scene.machine(lab, shared, context=False)
    scene.attach(lab, [VOLUME], "node1", *hosts)


def ln(lab: Ground) -> scene.Command:
    """VM 42 comes to the host on which the other is."""
    shared = image(lab)
    vm = lab.vms.create(shared, context=False)
    another(lab, shared)
    return scene.upto(lab.vms.deploy(vm, "node1"), "ln")


def with_another(verb: Verb, script: str, host: str = "node1") -> Prepare:
    """VM 42 runs on a host, and something is done with it."""

    def prepare(lab: Ground) -> scene.Command:
        shared = image(lab)
        vm = scene.machine(lab, shared, host=host, context=False)
        another(lab, shared, host)
        return scene.upto(verb(lab, vm), script)

    return prepare


def live(script: str, source: str, *, arrived: bool) -> Prepare:
    """A live migration of VM 42 to node2; postmigrate leaves node1 to the other VM."""

    def prepare(lab: Ground) -> scene.Command:
        shared = image(lab)
        vm: Vm = scene.machine(lab, shared, host=source, context=False)
        another(lab, shared, source)
        if arrived:
            scene.attach(lab, [VOLUME], "node1", source, "node2")
            scene.home(lab, vm, "node2")
            lab.storpool(f"VolumeUpdate/{VOLUME}", {"tags": {"nvm-42-0": "12.13"}})
        return scene.upto(lab.vms.live_migrate(vm, "node2", fails=script == "failmigrate"), script)

    return prepare


ROWS = (
    Row("ln-shared", ln),
    Row("mvds-shared", with_another(terminate, "mvds", "node2"), **AWAY_FROM_HOST),
    Row("postmigrate-shared", live("postmigrate", "node3", arrived=True), migration=True, **AWAY_FROM_HOST),
)
# The same calls in another order: only the whole sweep has them.
MORE = (
    Row("mv-disk-shared", with_another(migrate_off, "mv"), **ON),
    Row("premigrate-shared", live("premigrate", "node3", arrived=False), migration=True),
)
