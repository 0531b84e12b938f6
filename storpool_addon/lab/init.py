"""The first process of a real host: makes the host's view, starts its sshd, and is its power.

Run as a program, with the description of the host (JSON on one line) on its input; the host lives as long as
that input is open. Killing the host's first process from outside is a power cut.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from typing import Any, NoReturn

from storpool_addon.lab import namespaces as ns

LOOPS, LOOP_MAJOR = 256, 7
SSHD_WAIT_S = 10.0
_SSHD_PID = "/run/sshd.pid"


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
        _start_sshd(spec["sshd"])
        os.write(ready, b"ready\n")
    except BaseException as error:
        os.write(ready, f"{error!r}\n".encode())
        os._exit(1)
    os.close(ready)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.2)


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


def _make_dev(view: ns.View, disk_group: int) -> None:
    """A /dev of the host's own; loop devices that are attached later are there from the beginning."""
    view.cover("/dev", but="loop")
    for number in range(LOOPS):
        node = f"/dev/loop{number}"
        os.mknod(node, stat.S_IFBLK, os.makedev(LOOP_MAJOR, number))
        os.chown(node, 0, disk_group)
        os.chmod(node, 0o660)


def _start_sshd(argv: list[str]) -> None:
    os.posix_spawn(argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    deadline = time.monotonic() + SSHD_WAIT_S
    while not os.path.exists(_SSHD_PID):
        if time.monotonic() > deadline:
            raise TimeoutError("sshd did not start")
        time.sleep(0.005)
