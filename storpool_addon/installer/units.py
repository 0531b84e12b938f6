"""systemd's units for periodic work and for metrics; installed and left off, for the site to enable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_addon.installer.layout import Layout
from storpool_addon.installer.tree import Entry, file

COLLECT, POLICIES = "storpool-addon-collect", "storpool-addon-policies"
EXPORTER = "storpool-addon-exporter"


class Work(NamedTuple):
    """Periodic work. does: for a person. command: after `storpool-addon`. more: lines of the service."""

    name: str
    does: str
    command: str
    first: str
    every: str
    more: str = ""


# What the exporter shows of both is kept there.
_CACHE = "CacheDirectory=addon-storpool-monitor\nCacheDirectoryMode=0750\n"
WORKS = (
    Work(
        COLLECT,
        "Collects capacity and sizes of disks from StorPool for OpenNebula",
        "collect --jitter 20",
        "1min",
        "4min",
        _CACHE,
    ),
    Work(
        POLICIES,
        "Gives volumes the policies that OpenNebula's VMs ask for",
        "policies --leader-only",
        "2min",
        "5min",
        _CACHE,
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
# It writes to oneadmin's home, wherever that is, and to the log: so the system is not all read-only for it.
_EXPORTER = """\
[Unit]
Description=Metrics of StorPool's driver of OpenNebula, for Prometheus
After=network-online.target opennebula.service
Wants=network-online.target

[Service]
User=oneadmin
Group=oneadmin
{environment}ExecStart={home}/bin/storpool-addon exporter
Restart=on-failure
RestartSec=10
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=full
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
MemoryMax=512M
TasksMax=64

[Install]
WantedBy=multi-user.target
"""


def units(where: Layout) -> Iterator[Entry]:
    """A service and its timer for each work, and the service of metrics."""
    own = where.remotes.removesuffix("/var/remotes")
    environment = f"Environment=ONE_LOCATION={own}\n" if own != where.remotes else ""
    for each in WORKS:
        service = _SERVICE.format(home=where.home, environment=environment, **each._asdict())
        yield file(f"{where.units}/{each.name}.service", service.encode())
        yield file(f"{where.units}/{each.name}.timer", _TIMER.format(**each._asdict()).encode())
    exporter = _EXPORTER.format(home=where.home, environment=environment)
    yield file(f"{where.units}/{EXPORTER}.service", exporter.encode())
