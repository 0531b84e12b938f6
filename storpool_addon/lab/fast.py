"""Hosts that are no more than a view of the file system: cheap enough for every test to have its own."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import TypeVar

from storpool_addon.lab.hosts import FRONTEND, Host, NoHosts, layout
from storpool_addon.lab.hostset import Hosts
from storpool_addon.lab.programs import CHECKOUT, SYSTEM_PATH, program, write_stub, write_watchers

T = TypeVar("T")


class FastHosts(Hosts):
    """Hosts that are no more than a view of the file system; a program in the place of ssh leads to them."""

    def __init__(
        self, directory: str, names: Sequence[str], devices: str, desk: str, keep: Sequence[str] = ()
    ) -> None:
        super().__init__(directory)
        everyone = {name: Host(name, layout(directory, devices, name)) for name in (FRONTEND, *names)}
        self.frontend = everyone.pop(FRONTEND)
        self.nodes = everyone
        hosts = [self.frontend, *everyone.values()]
        self._views = _make_views(hosts, [directory, CHECKOUT, sys.prefix, sys.base_prefix, *keep])
        with ExitStack() as undo:
            undo.callback(self.close)
            self._lead_to(hosts, desk)
            undo.pop_all()

    def close(self) -> None:
        """See Hosts."""
        # Where there is no holder any more there are no views either.
        with contextlib.suppress(NoHosts):
            _holder().ask({"end": self._views})
        self._views = []

    def _lead_to(self, hosts: Sequence[Host], desk: str) -> None:
        """The programs before an action's PATH, and ssh alone before that of a command on a host."""
        on_host = os.path.join(self._directory, "hostbin")
        power = {host.name: host.power for host in hosts}
        for host in hosts:
            words = [f"PATH={on_host}:{SYSTEM_PATH}", "HOME=/var/lib/one", "USER=oneadmin", "LANG=C"]
            host.login = [program("env"), "-i", "-C", "/var/lib/one", *words]
        # Who asks is in the view of a host already: the user that all views share needs no second entrance.
        enter = {host.name: [*_without_user(host.enter), *host.login] for host in hosts}
        programs = os.path.join(self._directory, "bin")
        write_watchers(programs, desk)
        write_stub(os.path.join(programs, "ssh"), f"ssh({desk!r}, {power!r}, {enter!r})")
        write_stub(os.path.join(on_host, "ssh"), f"ssh(None, {power!r}, {enter!r})")


class _Holder:
    """The process that makes views and holds them, one for all labs of ours; it ends with its input."""

    def __init__(self) -> None:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "namespaces.py")
        argv = [sys.executable, "-I", "-S", path]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._turn = threading.Lock()
        atexit.register(self._process.communicate)

    def ask(self, request: Mapping[str, object]) -> dict[str, int]:
        """The answer; NoHosts when it has none."""
        assert self._process.stdin and self._process.stdout
        with self._turn:
            line = ""
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
        answer = json.loads(line or '{"error": "the holder of the views ended"}')
        if "error" in answer:
            raise NoHosts(f"private views of the file system are refused here ({answer['error']})")
        return dict(answer)


@cache
def _holder() -> _Holder:
    return _Holder()


def _make_views(hosts: Sequence[Host], keep: Sequence[str]) -> list[int]:
    """The processes that hold the hosts' views; each host then knows how to enter its own."""
    nsenter = program("nsenter")
    processes = _holder().ask({"make": [_spec(host, keep) for host in hosts]})
    for host in hosts:
        host.enter = enter_command(nsenter, processes[host.name], as_root=os.getuid() == 0)
    return list(processes.values())


def _spec(host: Host, keep: Sequence[str]) -> dict[str, object]:
    links = [(host.path("/etc/storpool.conf"), "/etc/storpool.conf")]
    return {"name": host.name, "binds": host.layout.binds(), "links": links, "keep": list(keep)}


def enter_command(nsenter: str, pid: int, *, as_root: bool) -> list[str]:
    """What precedes a command line so that it runs in the view that process `pid` holds."""
    user = [] if as_root else ["--user", "--preserve-credentials"]
    return [nsenter, "-t", str(pid), *user, "-m", "-u", "-r", "--"]


def _without_user(enter: Sequence[str]) -> list[str]:
    return [word for word in enter if word not in ("--user", "--preserve-credentials")]
