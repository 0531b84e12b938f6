"""A whole cloud in one process: StorPool, oned, hosts, and the driver's scripts run as oned runs them."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Callable

from storpool_addon.lab.backups import Backups
from storpool_addon.lab.command import Command, Result, Steps, T, judged
from storpool_addon.lab.conductor import Conductor, Desk, Fault
from storpool_addon.lab.domains import Domains
from storpool_addon.lab.fast import FastHosts
from storpool_addon.lab.foreign import Foreign
from storpool_addon.lab.gate import Gate
from storpool_addon.lab.hosts import FRONTEND, NoHosts
from storpool_addon.lab.hostset import Hosts
from storpool_addon.lab.hypervisor import Hypervisor
from storpool_addon.lab.images import Images
from storpool_addon.lab.machines import Machines
from storpool_addon.lab.market import Market
from storpool_addon.lab.memory import Memory
from storpool_addon.lab.objects import READY, Image
from storpool_addon.lab.oned import Oned
from storpool_addon.lab.plain import PlainHosts
from storpool_addon.lab.real import RealHosts
from storpool_addon.lab.rpc import RpcServer
from storpool_addon.lab.saving import Saving
from storpool_addon.lab.snapshots import DiskSnapshots, ImageSnapshots
from storpool_addon.lab.vm_backups import VmBackups
from storpool_addon.lab.vm_snapshots import VmSnapshots
from storpool_addon.simulator import Simulator

HOME = "/var/lib/one"
# Its default is outside of what a front-end of the lab has of its own.
OWN_CONFIG = {"SP_FE_JSON_PATH": f"{HOME}/collected"}
REMOTES = f"{HOME}/remotes"
# What oned's MADs hand on (systemd unit, madcommon.sh); PATH is the hosts' business.
ENVIRONMENT = {"HOME": HOME, "LANG": "C.UTF-8", "LOGNAME": "oneadmin", "USER": "oneadmin"}
CLIENT_IDS = {FRONTEND: 10, "node1": 11, "node2": 12, "node3": 13}
TIMEOUT_S = 120.0
_numbers = itertools.count()


class Lab:
    """One world. Everything in it is public: oned, simulator, hosts, conductor, images, vms, memory,
    disk_snapshots, image_snapshots, vm_snapshots; with libvirt hypervisor and domains as well.

    tree: where install.py --root put the driver. directory: a new directory for all that the world holds.
    real: hosts with sshd and block devices of their own, for which one has to be root; control_master: their
    ssh keeps connections open; libvirt: nodes have a libvirtd and run guests. plain: hosts without views of
    their own, for machines that refuse those.
    """

    def __init__(
        self,
        directory: str,
        tree: str,
        *,
        nodes: Sequence[str] = ("node1", "node2"),
        version: str = "7.4",
        real: bool = False,
        plain: bool = False,
        control_master: bool = False,
        libvirt: bool = False,
        **simulator_options: object,
    ) -> None:
        self.directory = directory
        self.tree = tree
        self.devices = os.path.join(directory, "dev")
        self.conductor = Conductor()
        self._options = {"devices": "loop" if real else "file", **simulator_options}
        self._ends = ExitStack()
        kind: Callable[..., Hosts] = PlainHosts if plain else FastHosts
        if real:
            kind = partial(RealHosts, control_master=control_master, libvirt=libvirt)
        with ExitStack() as undo:
            undo.callback(self._ends.close)
            self._start(nodes, kind)
            undo.pop_all()
        self.oned = Oned(FRONTEND, self.hosts.frontend.path(REMOTES), version=version)
        self.rpc = self.hosts.within(lambda: RpcServer(self.oned, self.conductor))
        self._ends.callback(self.rpc.close)
        self.resizing = self.rpc.methods.resizing
        self.images = Images(self.oned)
        if libvirt:
            self.hypervisor = Hypervisor(self.hosts, version)
            self.vms = Machines(self.oned, self.hosts.frontend.write, self.hypervisor)
            self.domains = Domains(self.hosts, self.vms, self.hypervisor)
        else:
            self.vms = Machines(self.oned, self.hosts.frontend.write)
        self.backups = Backups(self.oned, self.hosts.frontend, self.images)
        self.saving = Saving(self.oned, self.images)
        self.memory = Memory(self.oned, self.hosts, self.vms)
        self.foreign = Foreign(self.hosts.frontend)
        self.vm_backups = VmBackups(self.oned, self.backups)
        self.market = Market(self.oned, self._read_file)
        self.disk_snapshots = DiskSnapshots(self.oned)
        self.image_snapshots = ImageSnapshots(self.oned)
        self.vm_snapshots = VmSnapshots(self.oned)
        self._furnish(nodes)
        if libvirt:
            self.hypervisor.furnish()

    def _start(self, nodes: Sequence[str], kind: Callable[..., Hosts]) -> None:
        address = f"\0storpool-lab-{os.getpid()}-{next(_numbers)}"
        self.hosts = kind(self.directory, nodes, self.devices, address, keep=[self.tree])
        self._ends.callback(self.hosts.close)
        desk = self.hosts.within(lambda: Desk(self.conductor, address))
        self._ends.callback(desk.close)
        self.simulator = self._simulator()
        self._ends.callback(self.simulator.stop)
        try:
            self.hosts.within(self.simulator.start)
        except OSError as error:
            raise NoHosts(f"StorPool cannot be played here: {error}") from error

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything that the world started."""
        self._ends.close()

    def power_off(self, name: str) -> None:
        """A node loses power, and StorPool its client."""
        self.hosts.nodes[name].power_off()
        self.simulator.set_client(CLIENT_IDS[name], "down")

    def power_on(self, name: str) -> None:
        """It comes back."""
        self.hosts.nodes[name].power_on()
        self.simulator.set_client(CLIENT_IDS[name], "running")

    # Scripts

    def run(self, command: Command, fault: Fault | None = None, *, timeout_s: float = TIMEOUT_S) -> Result:
        """Run one script, with at most one fault on its way."""
        argv = self._argv(command)
        start = time.monotonic()
        self.conductor.begin(fault)
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.conductor.started(process.pid)
        try:
            stdout, stderr = process.communicate(self.hosts.given(command.stdin), timeout=timeout_s)
        finally:
            process.kill()
            calls = self.conductor.end()
        seconds = time.monotonic() - start
        return Result(process.returncode, stdout.decode(), stderr.decode(), calls, seconds)

    def _argv(self, command: Command) -> list[str]:
        if not command.host:
            return self.hosts.action_argv(command.argv, ENVIRONMENT, HOME)
        node = self.hosts.nodes[command.host]
        return [*node.enter, *node.login, *command.argv]

    def do(self, steps: Steps[T], seen: Callable[[Command, Result], None] | None = None) -> T:
        """Run all scripts of a verb; StepFailed when oned would call it failed. seen: told of each script."""
        return self._walk(steps, None, seen)[1]  # type: ignore[return-value]

    def until(self, steps: Steps[T], name: str, occurrence: int = 1) -> Command:
        """Run the scripts of a verb up to one of that name, which is given back and not run."""
        command = self._walk(steps, (name, occurrence), None)[0]
        if command is None:
            raise LookupError(f"no script {name} in this verb")
        return command

    def _walk(
        self, steps: Steps[T], stop: tuple[str, int] | None, seen: Callable[[Command, Result], None] | None
    ) -> tuple[Command | None, T | None]:
        met = 0
        try:
            command = next(steps)
            while True:
                met += stop is not None and command.name == stop[0]
                if stop is not None and command.name == stop[0] and met == stop[1]:
                    return command, None
                result = self.run(command)
                if seen:
                    seen(command, result)
                failure = judged(command, result, self.oned.version)
                command = steps.throw(failure) if failure else steps.send(result)
        except StopIteration as end:
            return None, end.value

    # StorPool

    def storpool(self, query: str, body: Mapping[str, object] | None = None) -> Any:
        """One API call, past network and conductor. query: with its arguments. body: makes it a POST."""
        route = self.simulator.route("GET" if body is None else "POST", query.split("/"))
        return self.simulator.perform(route, None if body is None else dict(body))[0]

    def give_image(
        self, *, size_mib: int = 4, content: bytes = b"", type: str = "OS", persistent: bool = False
    ) -> Image:
        """An image that is there already, as if it had been imported: for tests of what comes after."""
        image = self.images.allocate(self.oned.datastores[101], type, persistent, size_mib)
        name = f"one-img-{image.id}"
        image.source, image.format, image.state = f"one-ds-101/{name}", "raw", READY
        tags = {"virt": "one", "nloc": "one", "qc": ""}
        size = size_mib << 20
        self.storpool("VolumeCreate", {"name": name, "size": size, "template": "one-ds-101", "tags": tags})
        if content:
            self.write_volume(name, content)
        return image

    def write_volume(self, name: str, content: bytes, offset: int = 0) -> None:
        """Write into a volume that is attached nowhere."""
        client = CLIENT_IDS[FRONTEND]
        self._reassign({"volume": name, "rw": [client]})
        with open(self.hosts.frontend.device(name), "r+b") as device:
            device.seek(offset)
            device.write(content)
        self._reassign({"volume": name, "detach": [client]})

    def read_volume(self, name: str, length: int = -1) -> bytes:
        """The bytes of a volume, wherever it is attached."""
        client = CLIENT_IDS[FRONTEND]
        had = any(
            each["volume"] == name and each["client"] == client for each in self.storpool("AttachmentsList")
        )
        if not had:
            self._reassign({"volume": name, "ro": [client]})
        with open(self.hosts.frontend.device(name), "rb") as device:
            content = device.read(length)
        if not had:
            self._reassign({"volume": name, "detach": [client]})
        return content

    def _read_file(self, name: str, path: str) -> bytes:
        """A file of a host, or all of a device there."""
        host = self.hosts.frontend if name == FRONTEND else self.hosts.nodes[name]
        directory, _, last = path.rpartition("/")
        with open(host.device(last) if directory == "/dev/storpool" else host.path(path), "rb") as file:
            return file.read()

    def volume_digest(self, name: str, length: int) -> str:
        """The sha256 of the first bytes of a volume."""
        return hashlib.sha256(self.read_volume(name, length)).hexdigest()

    def _reassign(self, item: Mapping[str, object]) -> None:
        self.storpool("VolumesReassignWait", {"reassign": [item], "attachTimeout": 10})

    # Furniture

    def _simulator(self) -> Simulator:
        return Simulator(
            os.path.join(self.directory, "storpool"),
            dev_dir=os.path.join(self.devices, "{client}", "storpool"),
            clients={CLIENT_IDS[name]: name for name in (FRONTEND, *self.hosts.nodes)},
            templates=["one-ds-100", "one-ds-101"],
            gate=Gate(self.conductor),
            **self._options,  # type: ignore[arg-type]
        )

    def _furnish(self, nodes: Sequence[str]) -> None:
        self.oned.add_system_datastore()
        images = self.oned.add_image_datastore()
        if not self.hosts.frontend_has_devices:
            images.attributes["BRIDGE_LIST"] = " ".join(nodes)
        for name in nodes:
            self.oned.add_host(name, CLIENT_IDS[name])
        frontend = self.hosts.frontend
        frontend.write(f"{HOME}/.one/one_auth", self.oned.session + "\n", 0o600)
        frontend.write(f"{HOME}/.one/one_endpoint", self.rpc.endpoint + "\n")
        for host in (frontend, *self.hosts.nodes.values()):
            host.write("/etc/storpool.conf", self.storpool_conf(), 0o640)
        self._link_remotes()

    def storpool_conf(self) -> str:
        """What a StorPool client has in /etc/storpool.conf."""
        host, port, token = self.simulator.endpoint
        lines = [f"SP_API_HTTP_HOST={host}", f"SP_API_HTTP_PORT={port}", f"SP_AUTH_TOKEN={token}"]
        for name in (FRONTEND, *self.hosts.nodes):
            lines += [f"[{name}]", f"SP_OURID={CLIENT_IDS[name]}"]
        return "\n".join(lines) + "\n"

    def configure(self, **values: object) -> None:
        """Write addon-storpoolrc: the site's configuration, and after it what the lab needs."""
        own = {name: value for name, value in OWN_CONFIG.items() if name not in values}
        lines = [f'{name}="{value}"' for name, value in {**values, **own}.items()]
        self.hosts.frontend.write(f"{REMOTES}/addon-storpoolrc", "\n".join(lines) + "\n")

    def _link_remotes(self) -> None:
        """The driver as it was installed, in a remotes directory that a test may add to."""
        installed, own = os.path.join(self.tree, REMOTES[1:]), self.hosts.frontend.path(REMOTES)
        os.makedirs(own)
        for part in sorted(os.listdir(installed)):
            source = os.path.join(installed, part)
            if part == "vmm":
                _link_files(source, os.path.join(own, part))
            elif os.path.isdir(source):
                os.makedirs(os.path.join(own, part), exist_ok=True)
                for each in os.listdir(source):
                    os.symlink(os.path.join(source, each), os.path.join(own, part, each))
            else:
                shutil.copy(source, own)
        with open(os.path.join(own, "addon-storpoolrc"), "a") as file:
            file.writelines(f'\n{name}="{value}"\n' for name, value in OWN_CONFIG.items())


def _link_files(source: str, target: str) -> None:
    """A tree of links to all files of another: a site adds its own files to these directories."""
    for directory, _, names in os.walk(source):
        own = os.path.join(target, os.path.relpath(directory, source))
        os.makedirs(own, exist_ok=True)
        for name in names:
            os.symlink(os.path.join(directory, name), os.path.join(own, name))
