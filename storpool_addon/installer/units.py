"""systemd's units for periodic work; installed and left off, for the site to enable."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_addon.installer.layout import Layout
from storpool_addon.installer.tree import Entry, file

_SERVICE = """\
[Unit]
Description=Collects capacity and sizes of disks from StorPool for OpenNebula
After=network-online.target opennebula.service
Wants=network-online.target

[Service]
Type=oneshot
User=oneadmin
Group=oneadmin
CacheDirectory=addon-storpool-monitor
CacheDirectoryMode=0750
{environment}ExecStart={home}/bin/storpool-addon collect --jitter 20
TimeoutStartSec=15min
Nice=5
"""
_TIMER = """\
[Unit]
Description=Collects capacity and sizes of disks from StorPool every four minutes

[Timer]
OnBootSec=1min
OnUnitInactiveSec=4min
AccuracySec=10s

[Install]
WantedBy=timers.target
"""
COLLECT = "storpool-addon-collect"


def units(where: Layout) -> Iterator[Entry]:
    """A service and its timer."""
    own = where.remotes.removesuffix("/var/remotes")
    environment = f"Environment=ONE_LOCATION={own}\n" if own != where.remotes else ""
    service = _SERVICE.format(home=where.home, environment=environment)
    yield file(f"{where.units}/{COLLECT}.service", service.encode())
    yield file(f"{where.units}/{COLLECT}.timer", _TIMER.encode())
