"""A world put aside, to come back to: what a sweep does before each of its faults."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from storpool_addon.lab.lab import Lab

_POOLS = ("datastores", "images", "vms", "hosts")


class Saved(NamedTuple):
    """Copies of the directories and of oned's pools."""

    directory: str
    pools: Any

    @classmethod
    def take(cls, lab: Lab) -> Saved:
        """Copy what can change."""
        directory = tempfile.mkdtemp(prefix="saved-", dir=lab.directory)
        for number, each in enumerate(_directories(lab)):
            _copy(each, os.path.join(directory, str(number)))
        return cls(directory, copy.deepcopy([getattr(lab.oned, name) for name in _POOLS]))

    def put_back(self, lab: Lab) -> None:
        """Copy it back; StorPool must not run. The directories stay the same ones: they are mounted."""
        for number, each in enumerate(_directories(lab)):
            _empty(each)
            _copy(os.path.join(self.directory, str(number)), each)
        for name, pool in zip(_POOLS, copy.deepcopy(self.pools)):
            ours = getattr(lab.oned, name)
            ours.clear()
            ours.update(pool)


def _directories(lab: Lab) -> list[str]:
    hosts = [lab.hosts.frontend, *lab.hosts.nodes.values()]
    own = [host.path(path) for host in hosts for path in ("/var/lib/one", "/var/tmp")]
    return [lab.simulator.state_dir, *own]


def _copy(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", target], check=True)


def _empty(directory: str) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
