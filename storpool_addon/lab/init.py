"""The first process of a real host: makes the host's view, starts its daemons, and is its power.

Run as a program, with the description of the host (JSON on one line) on its input; the host lives as long as
that input is open. Killing the host's first process from outside is a power cut.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from functools import partial
from typing import Any, Callable, NoReturn

from storpool_addon.lab import namespaces as ns

LOOPS, LOOP_MAJOR = 256, 7
KVM = os.makedev(10, 232)
DAEMON_WAIT_S = 30.0
_SSHD_PID, _LIBVIRT_SOCKET = "/run/sshd.pid", "/run/libvirt/libvirt-sock"


def main() -> None:
    """Start a host, print the process that is its first, and hold it until the input ends."""
    spec = json.loads(sys.stdin.readline())
    ours, theirs = os.pipe()
    try:
        ns.join_network(spec["network"])
        ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC | ns.CLONE_NEWCGROUP | ns.CLONE_NEWPID)
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    pid = os.fork()
    if pid == 0:
        _be_first(spec, theirs)
    os.close(theirs)
    with open(ours) as ready:
        problem = ready.readline().strip()
    print(json.dumps({"error": problem} if problem != "ready" else {"pid": pid}), flush=True)
    sys.stdin.read()
    ns.end(pid)


def _be_first(spec: dict[str, Any], ready: int) -> NoReturn:
    ns.die_with_parent()
    try:
        ns.set_hostname(spec["name"])
        _make_view(spec)
        daemons = _start_daemons(spec)
        os.write(ready, b"ready\n")
    except BaseException as error:
        os.write(ready, f"{error!r}\n".encode())
        os._exit(1)
    os.close(ready)
    while True:
        try:
            ended = os.wait()[0]
        except ChildProcessError:
            time.sleep(0.2)
            continue
        if again := daemons.pop(ended, None):
            daemons[again()] = again


def _make_view(spec: dict[str, Any]) -> None:
    view = ns.View()
    view.open_up(spec["keep"])
    _make_dev(view, spec["disk_group"])
    for source, target in spec["binds"]:
        view.bind(source, target, spec["keep"])
    for source, target in spec["over"]:
        if os.path.exists(target):
            ns.mount(source, target, flags=ns.MS_BIND)
    for text, path in spec["links"]:
        view.link(text, path)
    if spec["libvirtd"]:
        _make_hypervisor(view, spec)
    ns.mount("tmpfs", "/run", "tmpfs", data="mode=755")
    os.mkdir("/run/sshd", 0o755)
    os.mkdir("/run/one", 0o700)
    os.chown("/run/one", spec["user"], spec["user"])
    # Production nodes have no OpenNebula of their own, and the driver must not lean on one.
    for hidden in ("/usr/lib/one", "/etc/one"):
        if os.path.isdir(hidden):
            ns.mount("tmpfs", hidden, "tmpfs", data="mode=755")
    # Actions on the front-end are not in its pid namespace: who starts them must be able to kill them.
    if spec["own_proc"]:
        ns.mount("proc", "/proc", "proc")


def _make_hypervisor(view: ns.View, spec: dict[str, Any]) -> None:
    """What libvirtd has of its own; control groups would be those of all hosts, so there are none."""
    for source, target in spec["libvirtd"]["binds"]:
        view.bind(source, target)
    ns.unmount("/sys/fs/cgroup")
    # The machine's own shows its network devices, which are not there in the hosts' network.
    ns.mount("sysfs", "/sys", "sysfs")
    if spec["libvirtd"]["kvm"]:
        os.mknod("/dev/kvm", stat.S_IFCHR | 0o660, KVM)
        os.chmod("/dev/kvm", 0o660)
        os.chown("/dev/kvm", spec["user"], spec["user"])


def _make_dev(view: ns.View, disk_group: int) -> None:
    """A /dev of the host's own; loop devices that are attached later are there from the beginning."""
    view.cover("/dev", but=("loop", "kvm"))
    for number in range(LOOPS):
        node = f"/dev/loop{number}"
        os.mknod(node, stat.S_IFBLK, os.makedev(LOOP_MAJOR, number))
        os.chown(node, 0, disk_group)
        os.chmod(node, 0o660)


def _start_daemons(spec: dict[str, Any]) -> dict[int, Callable[[], int]]:
    """sshd and, where it is asked for, libvirtd, at the same time.

    Gives, by process, what starts one anew that has ended, as systemd does with libvirtd.
    """
    anew: dict[int, Callable[[], int]] = {}
    wanted = {"sshd": _SSHD_PID}
    _start(spec["sshd"])
    if spec["libvirtd"]:
        wanted["libvirtd"] = _LIBVIRT_SOCKET
        again = partial(_start, spec["libvirtd"]["argv"], spec["libvirtd"]["log"])
        anew[again()] = again
    deadline = time.monotonic() + DAEMON_WAIT_S
    for name, path in wanted.items():
        while not os.path.exists(path):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not start")
            time.sleep(0.005)
    return anew


def _start(argv: list[str], log: str = os.devnull) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    output = [(os.POSIX_SPAWN_OPEN, number, log, flags, 0o644) for number in (1, 2)]
    return os.posix_spawn(argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, file_actions=output)
