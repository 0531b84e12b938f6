"""The contextualisation image of a VM: an ISO built here, kept on a volume."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from storpool_addon import names, qos, tags
from storpool_addon.errors import ConfigError, ToolError, UsageError
from storpool_addon.hosts import vmdir
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import Many, number, protocol, text
from storpool_addon.opennebula.vm import Vm
from storpool_addon.tm import nvram, scratch
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import round_up_to_sector
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

PACKAGES = "/usr/share/one/context"
BUILD_TIMEOUT_S = 300.0
# The programs that build an ISO, best first; xorriso is what OpenNebula itself needs since 7.2.
_BUILDERS = {"xorriso": ["-as", "mkisofs", "-quiet"], "genisoimage": ["-quiet"], "mkisofs": ["-quiet"]}


@protocol(files=Many(text), target=Location.parse, vm_id=number, datastore_id=number)
def context(driver: Driver, files: list[str], target: Location, vm_id: int, datastore_id: int) -> None:
    """Build the image from oned's context.sh and the files that the VM asks for, and present it on the host.

    A VM with T_OS_NVRAM gets its UEFI variables first: this is what runs each time before a VM starts.
    Also called while the VM runs, with the medium ejected: the volume is then filled anew in place.
    """
    if target.disk_id is None or not files:
        raise UsageError(f"context of VM {vm_id}: there is no file to put in, or {target.path!r} is no disk")
    vm, system = driver.one.vm(vm_id), driver.one.datastore(datastore_id)
    own = nvram.provide(driver, vm, system, target.host)
    with scratch.directory(f"context-{vm_id}") as directory:
        image = _built(driver, vm, files, directory)
        with open(image, "rb") as content, Undo(driver.log) as undo:
            name = names.context(driver.config.one_px, vm_id, target.disk_id)
            volumes = driver.volumes(system)
            size = round_up_to_sector(os.path.getsize(image))
            template = names.template(driver.config.one_px, system.id)
            wanted = tags_of(volumes, vm, system, target.disk_id)
            client = driver.client_id(target.host, vm, system)
            with uninterrupted():
                if volumes.ensure(name, size=size, template=template, tags=wanted):
                    undo.add(f"delete volume {name}", volumes.discard, name)
                volumes.place([Placement(each, client) for each in (name, *own)])
            vmdir.write(driver.hosts.on(target.host), target.path, volumes.api.reference(name), content)
    if volumes.config.readonly_mode == "ro":
        volumes.place([Placement(name, client, "ro")])


def tags_of(volumes: Volumes, vm: Vm, system: Datastore, disk_id: int) -> dict[str, str]:
    """The tags of a context image's volume."""
    config = volumes.config.for_vm(vm)
    if not config.tag_context_iso:
        return tags.ours(config)
    qc = qos.of_vm(config, vm, system)
    return tags.vm_disk(config, vm, type="CNTXT", qc=qc, disk_id=disk_id)


def _built(driver: Driver, vm: Vm, files: Sequence[str], directory: str) -> str:
    """The path of the finished image in `directory`."""
    try:
        return _build(driver, vm, files, directory)
    except OSError as error:
        raise ToolError(
            f"the context image of VM {vm.id} cannot be built on the front-end: {error}"
        ) from None


def _build(driver: Driver, vm: Vm, files: Sequence[str], directory: str) -> str:
    content, image = os.path.join(directory, "content"), os.path.join(directory, "context.iso")
    os.mkdir(content)
    if driver.config.for_vm(vm).include_context_packages:
        _take_packages(content)
    for each in files:
        _take(each, content)
    # The same content gives the same image, byte for byte, however often it is built.
    epoch = int(os.path.getmtime(os.path.join(content, os.path.basename(files[0]))))
    os.utime(content, (epoch, epoch))
    builder = _builder(driver.config.mkisofs)
    argv = ["env", f"SOURCE_DATE_EPOCH={epoch}", *builder, "-o", image, "-V", "CONTEXT", "-J", "-R", content]
    driver.processes.run(argv, what=f"building the context image of VM {vm.id}", timeout_s=BUILD_TIMEOUT_S)
    return image


def _builder(wanted: str | None) -> list[str]:
    for program in [wanted] if wanted else _BUILDERS:
        if shutil.which(program):
            return [program, *_BUILDERS.get(os.path.basename(program), [])]
    what = f"program {wanted} (MKISOFS)" if wanted else "none of xorriso, genisoimage, mkisofs"
    raise ToolError(
        f"the context image cannot be built: {what} is installed on the front-end; install xorriso"
    )


def _take(source: str, content: str) -> None:
    """Put one of the VM's FILES in: a path or an http address, either with an optional `:name` at its end."""
    address, name = _split(source)
    if not name or "/" in name or name in (".", ".."):
        raise UsageError(f"context file {source!r} cannot be named {name!r} in the image")
    target = os.path.join(content, name)
    if address.startswith(("http://", "https://")):
        _download(address, target)
    elif os.path.isdir(address):
        shutil.copytree(address, target)
    elif os.path.isfile(address):
        shutil.copy2(address, target)
    else:
        raise UsageError(f"context file {address} does not exist on the front-end; remove it from FILES")


def _split(source: str) -> tuple[str, str]:
    scheme, separator, rest = source.rpartition("://")
    path, _, name = rest.partition(":")
    if scheme and name.split("/")[0].isdigit():
        # host:port of an address, perhaps with a name after its path
        port_and_path, _, name = name.partition(":")
        path = f"{path}:{port_and_path}"
    return scheme + separator + path, name or os.path.basename(path)


def _download(address: str, target: str) -> None:
    import requests

    try:
        with requests.get(address, stream=True, timeout=(10, 30)) as answer, open(target, "wb") as out:
            answer.raise_for_status()
            shutil.copyfileobj(answer.raw, out)
    except (requests.RequestException, OSError) as error:
        raise ToolError(f"context file {address} cannot be fetched: {error}") from None


def _take_packages(content: str) -> None:
    """OpenNebula's own context packages, for guests that install them from the image."""
    if not os.path.isdir(PACKAGES):
        raise ConfigError(
            f"INCLUDE_CONTEXT_PACKAGES: the front-end has no {PACKAGES}; install the context packages"
            " there or unset it"
        )
    with os.scandir(PACKAGES) as entries:
        for entry in entries:
            if entry.is_file() and not entry.name.endswith(".iso"):
                shutil.copy2(entry.path, os.path.join(content, entry.name))
