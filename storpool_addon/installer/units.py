"""systemd's units for periodic work; installed and left off, for the site to enable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_addon.installer.layout import Layout
from storpool_addon.installer.tree import Entry, file

COLLECT, POLICIES = "storpool-addon-collect", "storpool-addon-policies"


class Work(NamedTuple):
    """Periodic work. does: for a person. command: after `storpool-addon`. more: lines of the service."""

    name: str
    does: str
    command: str
    first: str
    every: str
    more: str = ""


WORKS = (
    Work(
        COLLECT,
        "Collects capacity and sizes of disks from StorPool for OpenNebula",
        "collect --jitter 20",
        "1min",
        "4min",
        "CacheDirectory=addon-storpool-monitor\nCacheDirectoryMode=0750\n",
    ),
    Work(
        POLICIES,
        "Gives volumes the policies that OpenNebula's VMs ask for",
        "policies --leader-only",
        "2min",
        "5min",
    ),
)
_SERVICE = """\
[Unit]
Description={does}
After=network-online.target opennebula.service
Wants=network-online.target

[Service]
Type=oneshot
User=oneadmin
Group=oneadmin
{more}{environment}ExecStart={home}/bin/storpool-addon {command}
TimeoutStartSec=15min
Nice=5
"""
_TIMER = """\
[Unit]
Description={does}, every {every}

[Timer]
OnBootSec={first}
OnUnitInactiveSec={every}
AccuracySec=10s

[Install]
WantedBy=timers.target
"""


def units(where: Layout) -> Iterator[Entry]:
    """A service and its timer for each work."""
    own = where.remotes.removesuffix("/var/remotes")
    environment = f"Environment=ONE_LOCATION={own}\n" if own != where.remotes else ""
    for each in WORKS:
        service = _SERVICE.format(home=where.home, environment=environment, **each._asdict())
        yield file(f"{where.units}/{each.name}.service", service.encode())
        yield file(f"{where.units}/{each.name}.timer", _TIMER.format(**each._asdict()).encode())
