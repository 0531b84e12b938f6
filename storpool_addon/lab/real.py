"""Hosts as real as one machine allows, for root: sshd, processes and block devices of their own.

All hosts share one network that has nothing but a loopback: the front-end is 127.0.0.1, the nodes follow.
Nothing of them is left once they are closed or the process that made them has ended.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Callable, TypeVar

from storpool_addon.lab import accelerator, libvirtd, namespaces
from storpool_addon.lab.hosts import FRONTEND, Host, Layout, NoHosts, layout
from storpool_addon.lab.programs import CHECKOUT, SYSTEM_PATH, program, write_watchers

T = TypeVar("T")
USER, UID = "oneadmin", 9869
_SSHD = """\
Port 22
ListenAddress {address}
HostKey {directory}/host_key
PidFile /run/sshd.pid
UsePAM no
UseDNS no
StrictModes no
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
AuthorizedKeysFile {directory}/authorized_keys
"""
_SSH = """\
Host *
    IdentityFile /var/lib/one/.ssh/id_ed25519
    UserKnownHostsFile /var/lib/one/.ssh/known_hosts
    StrictHostKeyChecking yes
"""
_MULTIPLEX = """\
    ControlMaster auto
    ControlPath /run/one/%C
    ControlPersist 60
"""


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
        self.enter = [program("nsenter"), "-t", str(self._pid), *kinds, "--", *as_user()]

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


class RealHosts:
    """The front-end and the nodes, up and running.

    control_master: ssh keeps its connections open, as OpenNebula's installation suggests. libvirt: each node
    has a libvirtd of its own.
    """

    frontend_has_devices = True

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
        self._directory = directory
        self._libvirt = libvirt
        self._network = _network()
        self._temporary = os.path.join(directory, "tmp")
        self._hosts: list[RealHost] = []
        everyone = [FRONTEND, *names]
        try:
            _write_common(directory, everyone)
            known = [directory, CHECKOUT, sys.prefix, sys.base_prefix, *keep]
            hosts = [
                self._host(name, layout(directory, devices, name), known, n)
                for n, name in enumerate(everyone, 1)
            ]
            self.frontend: Host = hosts[0]
            self.nodes: dict[str, Host] = {host.name: host for host in hosts[1:]}
            self._hosts = hosts
            self._keys(hosts, control_master)
            write_watchers(os.path.join(directory, "bin"), desk, "ssh")
            for host in hosts:
                host.start()
            for host in hosts:
                host.wait()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RealHosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def action_argv(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> list[str]:
        """See Hosts."""
        programs = os.path.join(self._directory, "bin")
        words = {**environment, "PATH": f"{programs}:{SYSTEM_PATH}", "TMPDIR": self._temporary}
        assigned = [f"{name}={value}" for name, value in words.items()]
        return [*self.frontend.enter, program("env"), "-i", "-C", directory, *assigned, *argv]

    def given(self, stdin: bytes) -> bytes:
        """See Hosts."""
        return stdin

    def within(self, function: Callable[[], T]) -> T:
        """See Hosts."""

        def inside() -> T:
            namespaces.join_network(f"/proc/self/fd/{self._network}")
            return function()

        return _made_by_thread(inside)

    def restart(self) -> None:
        """See Hosts."""
        for host in self.nodes.values():
            host.power_on()

    def close(self) -> None:
        """See Hosts."""
        for host in self._hosts:
            host.end()
        os.close(self._network)

    def _host(self, name: str, files: Layout, keep: Sequence[str], number: int) -> RealHost:
        files.make()
        directory, common = files.files, os.path.join(self._directory, "common")
        with open(os.path.join(directory, "sshd_config"), "w") as file:
            file.write(_SSHD.format(address=f"127.0.0.{number}", directory=directory))
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
            "sshd": [
                program("sshd"),
                "-D",
                "-E",
                os.path.join(directory, "sshd.log"),
                "-f",
                f"{directory}/sshd_config",
            ],
        }
        host = RealHost(name, files, spec)
        words = [f"PATH={SYSTEM_PATH}", "HOME=/var/lib/one", f"USER={USER}", "LANG=C"]
        host.login = [program("env"), "-i", "-C", "/var/lib/one", *words]
        return host

    def _hypervisor(self, name: str, directory: str, number: int) -> dict[str, object] | None:
        if not self._libvirt or name == FRONTEND:
            return None
        return libvirtd.prepare(directory, number, USER, UID, accelerated=accelerator.runs_linux())

    def _keys(self, hosts: Sequence[RealHost], control_master: bool) -> None:
        """A key for every host, one for the service user, and who knows whom."""
        key = os.path.join(self._directory, "common", "id_ed25519")
        _generate(key)
        known = []
        for host in hosts:
            _generate(os.path.join(host.layout.files, "host_key"))
            known.append(f"{host.name} {_read(os.path.join(host.layout.files, 'host_key.pub'))}")
        for host in hosts:
            authorized = os.path.join(host.layout.files, "authorized_keys")
            shutil.copy(key + ".pub", authorized)
            config = _SSH + (_MULTIPLEX if control_master else "")
            host.write("/var/lib/one/.ssh/config", config, 0o600)
            host.write("/var/lib/one/.ssh/known_hosts", "".join(known))
            host.write("/var/lib/one/.ssh/id_ed25519", _read(key), 0o600)
            for path in ("/var/lib/one/.ssh", "/var/lib/one"):
                os.chmod(host.path(path), 0o700 if path.endswith("ssh") else 0o755)
            os.chmod(host.path("/var/tmp"), 0o1777)
            os.chmod(host.layout.files, 0o755)


def _network() -> int:
    try:
        return _made_by_thread(namespaces.fresh_network)
    except OSError as error:
        reason = f"a network of their own is refused ({error.strerror})"
        raise NoHosts(f"real hosts cannot be started here: {reason}") from error


def as_user() -> list[str]:
    """What makes the service user run a command line; it is a member of `disk`, as on real hosts."""
    groups = [str(UID), str(grp.getgrnam("disk").gr_gid)]
    with contextlib.suppress(KeyError):
        groups.append(str(grp.getgrnam("kvm").gr_gid))
    return [program("setpriv"), f"--reuid={UID}", f"--regid={UID}", f"--groups={','.join(groups)}", "--"]


def _write_common(directory: str, names: Sequence[str]) -> None:
    """The files below /etc that all hosts share."""
    common = os.path.join(directory, "common")
    os.makedirs(common)
    # Everybody must be able to pass; the service user reads its keys from its own home.
    os.chmod(directory, 0o755)
    temporary = os.path.join(directory, "tmp")
    os.mkdir(temporary)
    os.chown(temporary, UID, UID)
    without = [line for line in _lines("/etc/passwd") if not line.startswith(f"{USER}:")]
    _write(common, "passwd", [*without, f"{USER}:x:{UID}:{UID}::/var/lib/one:/bin/bash"])
    groups = [_joined(line) for line in _lines("/etc/group") if not line.startswith(f"{USER}:")]
    _write(common, "group", [*groups, f"{USER}:x:{UID}:"])
    addresses = [f"127.0.0.{number} {name}" for number, name in enumerate(names, 1)]
    _write(common, "hosts", ["127.0.0.1 localhost", *addresses])


def _joined(line: str) -> str:
    """A line of /etc/group, with the service user in the groups that give it devices."""
    if line.split(":")[0] not in ("disk", "kvm"):
        return line
    return f"{line}{'' if line.endswith(':') else ','}{USER}"


def _lines(path: str) -> list[str]:
    return _read(path).splitlines()


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write(directory: str, name: str, lines: Iterable[str]) -> None:
    with open(os.path.join(directory, name), "w") as file:
        file.write("\n".join(lines) + "\n")


def _generate(path: str) -> None:
    command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


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
