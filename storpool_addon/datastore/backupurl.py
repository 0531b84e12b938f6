"""URLs of disks in a backup datastore, as OpenNebula's own drivers write them."""

from __future__ import annotations

import re

# rsync://<datastore>/<job>/<number>:<id>,…/<path of the backup's directory>/<id>/disk.<disk>.<number>
_URL = re.compile(
    r"(?P<scheme>rsync|restic)://(?P<place>[^/]*/[^/]*)/(?P<number>[0-9]+):(?P<id>[^/,:]+)"
    r"(?P<directory>/.*/)(?P<last>[^/]+)/disk\.(?P<disk>[0-9]+)\.[0-9]+",
    re.ASCII | re.DOTALL,
)


def exact(url: str) -> str:
    """The URL with the file of the very increment that its chain ends with.

    OpenNebula's `ls` and `restore` put the newest increment's file behind every chain. That does no harm to
    a chain of several, which is put together by its numbers alone; but a chain of one is read by the path
    (rsync_downloader.rb), and would give an increment's few changes for a complete disk.
    """
    found = _URL.fullmatch(url)
    if not found:
        return url
    # A restic snapshot holds the directory of the host, without an id in it.
    last = found["id"] if found["scheme"] == "rsync" else found["last"]
    head = f"{found['scheme']}://{found['place']}/{found['number']}:{found['id']}"
    return f"{head}{found['directory']}{last}/disk.{found['disk']}.{found['number']}"


def is_of_backup(url: str) -> bool:
    """Whether the URL is of a backup datastore."""
    return url.partition("://")[0].partition("+")[0] in ("rsync", "restic")
