"""Finds processes that an action left running: those that see the file system of a lab host."""

from __future__ import annotations

import os
import time

from storpool_addon.lab.hosts import Host
from storpool_addon.lab.lab import Lab


def processes(lab: Lab, *, patience_s: float) -> list[str]:
    """The command lines of what still runs on the lab's hosts after a time to end."""
    end = time.monotonic() + patience_s
    while True:
        found = _running(lab)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.02)


def _running(lab: Lab) -> list[str]:
    holders = {_holder(host) for host in (lab.hosts.frontend, *lab.hosts.nodes.values())}
    views = {_view(pid) for pid in holders}
    return [
        _command_line(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit() and pid not in holders and _view(pid) in views and _command_line(pid)
    ]


def _holder(host: Host) -> str:
    """The process that holds the host's view: `nsenter -t PID`."""
    return host.enter[host.enter.index("-t") + 1]


def _view(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return "gone"


def _command_line(pid: str) -> str:
    """Empty for a process that has ended and waits for its parent."""
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().replace("\0", " ")[:200]
    except OSError:
        return ""
