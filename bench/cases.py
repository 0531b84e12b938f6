"""The hot actions, each with a world in which oned would run it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, NamedTuple

from storpool_addon.lab.command import Command, StepFailed, Steps, judged
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from storpool_addon.lab.programs import ISO_BUILDERS, is_there

SMALL_FILE = "/var/tmp/small.raw"
SIZE_MIB = 4
# The one action that needs a program of its own.
CONTEXT = "tm/context"


class Case(NamedTuple):
    """A script of the driver as oned is about to run it. name: as the table and its limits know it."""

    name: str
    command: Command


class Kind(NamedTuple):
    """How a case comes about: `steps` gives the scripts of a verb; the case is the first that `is_it`."""

    name: str
    steps: Callable[[Lab], Steps[object]]
    is_it: Callable[[Command], bool]


def prepare(lab: Lab, only: str = "") -> list[Case]:
    """The cases whose name contains `only`; the scripts of OpenNebula that come before each have run.

    Without CONTEXT where no program builds its image.
    """
    lab.hosts.frontend.write(SMALL_FILE, b"\1" * (SIZE_MIB << 20))
    left_out = () if is_there(*ISO_BUILDERS) else (CONTEXT,)
    chosen = [kind for kind in KINDS if only in kind.name and kind.name not in left_out]
    return [Case(kind.name, _up_to(lab, kind)) for kind in chosen]


def _up_to(lab: Lab, kind: Kind) -> Command:
    """Run the scripts of the verb as oned does, but for the one that is wanted."""
    steps = kind.steps(lab)
    command = next(steps)
    while not kind.is_it(command):
        result = lab.run(command)
        failure: StepFailed | None = judged(command, result, lab.oned.version)
        if failure:
            raise failure
        command = steps.send(result)
    return command


# Worlds


def _image(lab: Lab, *, persistent: bool = False) -> Image:
    return lab.give_image(size_mib=SIZE_MIB, persistent=persistent)


def _shared(lab: Lab) -> Image:
    image = _image(lab, persistent=True)
    image.attributes["PERSISTENT_TYPE"] = "SHAREABLE"
    return image


def _new(lab: Lab, *disks: Image | Volatile, context: bool = False) -> Steps[None]:
    return lab.vms.deploy(lab.vms.create(*disks, context=context), "node1")


def _running(lab: Lab, *disks: Image | Volatile) -> Vm:
    vm = lab.vms.create(*disks, context=False)
    lab.do(lab.vms.deploy(vm, "node1"))
    return vm


def _ended(lab: Lab, *disks: Image | Volatile) -> Steps[None]:
    return lab.vms.terminate(_running(lab, *disks))


def _cleaned_up(lab: Lab, *disks: Image | Volatile) -> Steps[None]:
    return lab.vms.cancel_prolog(_running(lab, *disks))


def _resized(lab: Lab) -> Steps[None]:
    return lab.vms.resize_disk(_running(lab, _image(lab)), 0, 2 * SIZE_MIB)


def _moved(lab: Lab) -> Steps[None]:
    vm = _running(lab, _image(lab))
    lab.vms.poweroff(vm)
    return lab.vms.migrate(vm, "node2")


def _live_migrated(lab: Lab, *, fails: bool = False) -> Steps[None]:
    images = [_image(lab, persistent=number < 3) for number in range(6)]
    volatile = [Volatile(SIZE_MIB), Volatile(SIZE_MIB, "swap")]
    vm = _running(lab, *images, *volatile)
    return lab.vms.live_migrate(vm, "node2", fails=fails)


def _snapshotted(lab: Lab, *, taken: int = 0) -> Vm:
    vm = _running(lab, _image(lab))
    for _ in range(taken):
        lab.do(lab.disk_snapshots.create(vm, 0))
    return vm


def _reverted(lab: Lab) -> Steps[None]:
    vm = _snapshotted(lab, taken=1)
    lab.vms.poweroff(vm)
    return lab.disk_snapshots.revert(vm, 0, 0)


def _created(lab: Lab, **what: object) -> Steps[Image]:
    return lab.images.create(lab.oned.datastores[101], **what)  # type: ignore[arg-type]


def _named(action: str) -> Callable[[Command], bool]:
    return lambda command: command.name == action


def _of_directory(action: str) -> Callable[[Command], bool]:
    return lambda command: command.name == action and not any("/disk." in arg for arg in command.args)


def _kinds() -> Iterator[Kind]:
    def kind(name: str, steps: Callable[[Lab], Steps[object]], directory: bool = False) -> Kind:
        action = name.partition(" ")[0].partition("/")[2]
        return Kind(name, steps, _of_directory(action) if directory else _named(action))

    yield kind("tm/clone", lambda lab: _new(lab, _image(lab)))
    yield kind("tm/ln", lambda lab: _new(lab, _image(lab, persistent=True)))
    yield kind("tm/mkimage", lambda lab: _new(lab, Volatile(SIZE_MIB)))
    yield kind("tm/mkswap", lambda lab: _new(lab, Volatile(SIZE_MIB, "swap")))
    yield kind(CONTEXT, lambda lab: _new(lab, context=True))
    yield kind("tm/delete volatile", lambda lab: _ended(lab, Volatile(SIZE_MIB)))
    yield kind("tm/delete clone", lambda lab: _ended(lab, _image(lab)))
    yield kind("tm/delete persistent", lambda lab: _cleaned_up(lab, _image(lab, persistent=True)))
    yield kind("tm/delete directory", lambda lab: _ended(lab, _image(lab)), True)
    yield kind("tm/resize", _resized)
    yield kind("tm/snap_create_live", lambda lab: lab.disk_snapshots.create(_snapshotted(lab), 0))
    yield kind("tm/snap_delete", lambda lab: lab.disk_snapshots.delete(_snapshotted(lab, taken=1), 0, 0))
    yield kind("tm/snap_revert", _reverted)
    yield kind("tm/mvds", lambda lab: _ended(lab, _image(lab, persistent=True)))
    yield kind("tm/ln shared", lambda lab: _new(lab, _shared(lab)))
    yield kind("tm/mvds shared", lambda lab: _ended(lab, _shared(lab)))
    yield kind("tm/cpds", lambda lab: lab.saving.disk_saveas(_running(lab, _image(lab)), 0))
    yield kind("tm/mv disk", _moved)
    yield kind("tm/mv directory", _moved, True)
    yield kind("tm/premigrate", _live_migrated)
    yield kind("tm/postmigrate", _live_migrated)
    yield kind("tm/failmigrate", lambda lab: _live_migrated(lab, fails=True))
    yield kind("tm/monitor", lambda lab: lab.images.monitor(lab.oned.datastores[100]))
    yield kind("ds/mkfs", lambda lab: _created(lab, size_mib=SIZE_MIB))
    yield kind("ds/clone", lambda lab: lab.images.clone(_image(lab)))
    yield kind("ds/rm", lambda lab: lab.images.delete(_image(lab)))
    yield kind("ds/stat", lambda lab: _created(lab, path=SMALL_FILE))
    yield kind("ds/cp", lambda lab: _created(lab, path=SMALL_FILE))
    yield kind("ds/monitor", lambda lab: lab.images.monitor(lab.oned.datastores[101]))


KINDS = tuple(_kinds())
