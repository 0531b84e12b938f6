"""The VM driver: what one_vmm_exec has done on hosts that run guests, step by step, around the TM's scripts.

Steps, arguments and input are those of OpenNebula 7.4 (one_vmm_exec.rb, VirtualMachineManager.cc). An action
is a script on the host, or one of the front-end where `local` names one, as `-l action=script` does.
"""

from __future__ import annotations

import base64
import uuid
from typing import Protocol

from storpool_addon.lab import stock
from storpool_addon.lab.command import HOST_REMOTES, REMOTES, Command, Result, Steps
from storpool_addon.lab.domainxml import domain
from storpool_addon.lab.hostset import Hosts
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.programs import stub

SCRIPTS = "vmm/kvm"


class Driver(Protocol):
    """What happens to the domain of a VM, between what happens to its disks."""

    def boot(self, vm: Vm) -> Steps[str]:
        """Starts it; its id."""

    def restore(self, vm: Vm) -> Steps[None]:
        """Starts it with the memory that was saved."""

    def shut(self, vm: Vm, *, hard: bool = False) -> Steps[None]:
        """Ends it."""

    def move(self, vm: Vm, source: str, target: str) -> Steps[None]:
        """To another host, while it runs."""

    def plug(self, vm: Vm, disk_id: int, commands: tuple[Command, Command]) -> Steps[None]:
        """A disk into it. commands: what made the disk, and what would take it back."""

    def unplug(self, vm: Vm, disk_id: int, command: Command) -> Steps[None]:
        """A disk out of it. command: what follows."""

    def resize(self, vm: Vm, disk_id: int, size_mib: int) -> Steps[None]:
        """A disk of it has grown."""

    def eject(self, vm: Vm) -> Steps[None]:
        """Takes the context out."""

    def insert(self, vm: Vm) -> Steps[None]:
        """Puts it in again."""


class NoDriver:
    """Hosts that run no guests: all that happens to one succeeds, and is nothing."""

    def boot(self, vm: Vm) -> Steps[str]:
        """See Driver."""
        yield from ()
        return f"0b3dd5c5-7a2e-45ea-a4a3-{vm.id:012x}"

    def _nothing(self, *_: object, **__: object) -> Steps[None]:
        yield from ()

    restore = shut = move = plug = unplug = resize = eject = insert = _nothing


class Hypervisor:
    """A Driver for hosts with libvirt. local: scripts of the front-end, by action ("attach_disk")."""

    def __init__(self, hosts: Hosts, version: str) -> None:
        self._hosts = hosts
        self._version = version
        self.local: dict[str, str] = {}

    def furnish(self) -> None:
        """Put OpenNebula's scripts onto the hosts, as its `onehost sync` does."""
        for node in self._hosts.nodes.values():
            for name in stock.NAMES:
                text = stub(stock.__name__, "sys.exit(main(sys.argv))")
                node.write(f"{HOST_REMOTES}/{SCRIPTS}/{name}", text, 0o755)
            node.write(f"{HOST_REMOTES}/etc/{SCRIPTS}/kvmrc", stock.KVMRC)
            node.write(f"{HOST_REMOTES}/vtpm_setup", stock.VTPM_SETUP, 0o755)
        self._hosts.frontend.write(f"{REMOTES}/etc/{SCRIPTS}/kvmrc", stock.KVMRC)

    def boot(self, vm: Vm) -> Steps[str]:
        """DEPLOY: vm.xml and ds.xml go where the deployment goes: for a local script to the front-end."""
        name = f"deployment.{vm.here.seq}"
        text = domain(vm, vm.deploy_id or str(uuid.uuid4()))
        local = "deploy" in self.local
        directory = f"/var/lib/one/vms/{vm.id}" if local else vm.home
        files = {"vm.xml": vm.document(self._version), "ds.xml": vm.here.system.document()}
        if local:
            files[name] = text
        for file, content in files.items():
            encoded = content.encode()
            if not local:
                self._hosts.nodes[vm.here.host].write(f"{directory}/{file}", encoded)
            else:
                given = encoded if file == name else base64.b64encode(encoded)
                self._hosts.frontend.write(f"{directory}/{file}", given)
        words = (f"{directory}/{name}", vm.here.host, str(vm.id), vm.here.host)
        result = yield self.action("deploy", vm, *words, document=text)
        return result.stdout.split("\n")[0]

    def shut(self, vm: Vm, *, hard: bool = False) -> Steps[None]:
        """SHUTDOWN or CANCEL."""
        yield from self.plain("cancel" if hard else "shutdown", vm, vm.deploy_id, vm.here.host)

    def move(self, vm: Vm, source: str, target: str) -> Steps[None]:
        """MIGRATE: on the host that the guest leaves."""
        fields = {"HOST": source, "MIGR_HOST": target, "DISK_TARGET_PATH": vm.home}
        document = vm.action_data(self._version, **fields)
        words = (vm.deploy_id, target, source, str(vm.id), source)
        yield self.action("migrate", vm, *words, document=document, host=source)

    def plug(self, vm: Vm, disk_id: int, commands: tuple[Command, Command]) -> Steps[None]:
        """ATTACHDISK."""
        made, back = map(_line, commands)
        fields = {"TM_COMMAND": made, "TM_COMMAND_ROLLBACK": back}
        document, words = self._of_disk(vm, disk_id, **fields)
        encoded = base64.b64encode(document.encode()).decode()
        yield self.action("attach_disk", vm, *words, encoded, str(vm.id), vm.here.host, document=document)

    def unplug(self, vm: Vm, disk_id: int, command: Command) -> Steps[None]:
        """DETACHDISK."""
        document, words = self._of_disk(vm, disk_id, TM_COMMAND=_line(command))
        yield self.action("detach_disk", vm, *words, str(vm.id), vm.here.host, document=document)

    def resize(self, vm: Vm, disk_id: int, size_mib: int) -> Steps[None]:
        """RESIZEDISK."""
        document = self._of_disk(vm, disk_id)[0]
        encoded = base64.b64encode(document.encode()).decode()
        words = (vm.deploy_id, str(disk_id), str(size_mib), encoded, vm.here.host, str(vm.id), vm.here.host)
        yield self.action("resize_disk", vm, *words, document=document)

    def eject(self, vm: Vm) -> Steps[None]:
        """PRERECONFIGURE."""
        assert vm.context is not None
        yield from self.plain("prereconfigure", vm, vm.deploy_id, vm.context["TARGET"])

    def insert(self, vm: Vm) -> Steps[None]:
        """RECONFIGURE."""
        assert vm.context is not None
        iso = f"{vm.home}/disk.{vm.context['DISK_ID']}"
        yield from self.plain("reconfigure", vm, vm.deploy_id, vm.context["TARGET"], iso)

    def save(self, vm: Vm) -> Steps[None]:
        """SAVE."""
        yield from self.plain("save", vm, vm.deploy_id, f"{vm.home}/checkpoint", vm.here.host)

    def restore(self, vm: Vm) -> Steps[None]:
        """RESTORE."""
        yield from self.plain("restore", vm, f"{vm.home}/checkpoint", vm.here.host, vm.deploy_id)

    def plain(self, action: str, vm: Vm, *words: str) -> Steps[Result]:
        """An action that reads what most of them read; VM and host follow its own words."""
        checkpoint = f"{vm.home}/checkpoint" if action in ("save", "restore") else ""
        document = vm.action_data(self._version, CHECKPOINT_FILE=checkpoint)
        return (yield self.action(action, vm, *words, str(vm.id), vm.here.host, document=document))

    def action(self, name: str, vm: Vm, *words: str, document: str, host: str = "") -> Command:
        """The script of an action: a local one reads base64, one on a host the very text."""
        if name in self.local:
            return Command(f"{SCRIPTS}/{self.local[name]}", words, base64.b64encode(document.encode()))
        return Command(f"{SCRIPTS}/{name}", words, document.encode(), host or vm.here.host)

    def _of_disk(self, vm: Vm, disk_id: int, **fields: str) -> tuple[str, tuple[str, ...]]:
        """What is read about a disk, and the words that name it."""
        path, target = f"{vm.home}/disk.{disk_id}", vm.disks[disk_id]["TARGET"]
        document = vm.action_data(self._version, DISK_TARGET_PATH=path, **fields)
        return document, (vm.deploy_id, path, target, str(ord(target[-1]) - ord("a")))


def _line(command: Command) -> str:
    """A command of the TM as oned writes it into the document."""
    _, tm_mad, script = command.script.split("/")
    action, dot, suffix = script.partition(".")
    return f"<![CDATA[{' '.join([action.upper() + dot + suffix, tm_mad, *command.args])}]]>"
