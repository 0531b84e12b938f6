"""Hosts as real as one machine allows, for root: sshd, processes and block devices of their own.

All hosts share one network that has nothing but a loopback: the front-end is 127.0.0.1, the nodes follow.
Nothing of them is left once they are closed or the process that made them has ended.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Callable, TypeVar

from storpool_addon.lab import accelerator, accounts, libvirtd, namespaces
from storpool_addon.lab.accounts import UID, USER
from storpool_addon.lab.hosts import FRONTEND, Host, Layout, NoHosts, layout
from storpool_addon.lab.hostset import Hosts
from storpool_addon.lab.programs import CHECKOUT, SYSTEM_PATH, program, write_watchers

T = TypeVar("T")


class RealHost(Host):
    """A host whose power is its first process."""

    def __init__(self, name: str, files: Layout, spec: Mapping[str, object]) -> None:
        super().__init__(name, files)
        self.owner = (UID, UID)
        self._spec = spec
        self._holder: subprocess.Popen[str] | None = None
        self._pid = 0

    def start(self) -> None:
        """Begin to start; `wait` sees it through."""
        code = (
            f"import sys; sys.path.insert(0, {CHECKOUT!r}); from storpool_addon.lab.init import main; main()"
        )
        self._holder = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdin
        self._holder.stdin.write(json.dumps(self._spec) + "\n")
        self._holder.stdin.flush()

    def wait(self) -> None:
        """Wait until the host is up; NoHosts says why it cannot be."""
        assert self._holder and self._holder.stdout
        answer = json.loads(self._holder.stdout.readline() or '{"error": "its holder ended"}')
        if "error" in answer:
            raise NoHosts(f"host {self.name} cannot be started here: {answer['error']}")
        self._pid = answer["pid"]
        kinds = (
            ["-m", "-u", "-i", "-n", "-r"] if self.name == FRONTEND else ["-m", "-u", "-i", "-n", "-r", "-p"]
        )
        self.enter = [program("nsenter"), "-t", str(self._pid), *kinds, "--", *accounts.as_user()]

    def power_off(self, *, hang: bool = False) -> None:
        """Kill the host's first process, and with it all others; with `hang`, freeze the others."""
        number = signal.SIGSTOP if hang else signal.SIGKILL
        if hang:
            self._signal_all(number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)
        self.end()

    def power_on(self) -> None:
        """Start the host anew, or let it go on."""
        if self._holder is None:
            self.start()
            self.wait()
        else:
            self._signal_all(signal.SIGCONT)

    def end(self) -> None:
        """Let the host go."""
        if self._holder is not None:
            self._holder.communicate()
            self._holder = None

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal every process of the host but the first."""
        pid = f"kill -{number.name[3:]} -1 2>/dev/null; true"
        subprocess.run(
            [program("nsenter"), "-t", str(self._pid), "-p", "-m", "-r", "--", "bash", "-c", pid], check=False
        )


class RealHosts(Hosts):
    """The front-end and the nodes, up and running.

    control_master: ssh keeps its connections open, as OpenNebula's installation suggests. libvirt: each node
    has a libvirtd of its own.
    """

    def __init__(
        self,
        directory: str,
        names: Sequence[str],
        devices: str,
        desk: str,
        keep: Sequence[str] = (),
        *,
        control_master: bool = False,
        libvirt: bool = False,
    ) -> None:
        if os.getuid() != 0:
            raise NoHosts("hosts with sshd and block devices of their own need root")
        super().__init__(directory)
        self._libvirt = libvirt
        self._network = _network()
        self._hosts: list[RealHost] = []
        everyone = [FRONTEND, *names]
        try:
            accounts.write_common(directory, everyone)
            known = [directory, CHECKOUT, sys.prefix, sys.base_prefix, *keep]
            hosts = [
                self._host(name, layout(directory, devices, name), known, n)
                for n, name in enumerate(everyone, 1)
            ]
            self.frontend = hosts[0]
            self.nodes = {host.name: host for host in hosts[1:]}
            self._hosts = hosts
            accounts.write_keys(directory, hosts, control_master)
            write_watchers(os.path.join(directory, "bin"), desk, "ssh")
            for host in hosts:
                host.start()
            for host in hosts:
                host.wait()
        except BaseException:
            self.close()
            raise

    def within(self, function: Callable[[], T]) -> T:
        """See Hosts."""

        def inside() -> T:
            namespaces.join_network(f"/proc/self/fd/{self._network}")
            return function()

        return _made_by_thread(inside)

    def close(self) -> None:
        """See Hosts."""
        for host in self._hosts:
            host.end()
        os.close(self._network)

    def _host(self, name: str, files: Layout, keep: Sequence[str], number: int) -> RealHost:
        files.make()
        directory, common = files.files, os.path.join(self._directory, "common")
        own = [("hostname", "/etc/hostname")]
        shared = [("passwd", "/etc/passwd"), ("group", "/etc/group"), ("hosts", "/etc/hosts")]
        with open(os.path.join(directory, "hostname"), "w") as file:
            file.write(name + "\n")
        over = [(os.path.join(directory, source), target) for source, target in own]
        over += [(os.path.join(common, source), target) for source, target in shared]
        spec = {
            "name": name,
            "user": UID,
            "network": f"/proc/{os.getpid()}/fd/{self._network}",
            "keep": list(keep),
            "binds": files.binds(),
            "over": over,
            "links": [(os.path.join(directory, "storpool.conf"), "/etc/storpool.conf")],
            "disk_group": grp.getgrnam("disk").gr_gid,
            "own_proc": name != FRONTEND,
            "libvirtd": self._hypervisor(name, directory, number),
            "sshd": accounts.sshd(files, f"127.0.0.{number}"),
        }
        host = RealHost(name, files, spec)
        words = [f"PATH={SYSTEM_PATH}", "HOME=/var/lib/one", f"USER={USER}", "LANG=C"]
        host.login = [program("env"), "-i", "-C", "/var/lib/one", *words]
        return host

    def _hypervisor(self, name: str, directory: str, number: int) -> dict[str, object] | None:
        if not self._libvirt or name == FRONTEND:
            return None
        return libvirtd.prepare(directory, number, USER, UID, accelerated=accelerator.runs_linux())


def _network() -> int:
    try:
        return _made_by_thread(namespaces.fresh_network)
    except OSError as error:
        reason = f"a network of their own is refused ({error.strerror})"
        raise NoHosts(f"real hosts cannot be started here: {reason}") from error


def _made_by_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread of its own, which a namespace that it joins ends with."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
