"""The cgroups that an import runs in, so that it leaves the front-end some air."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

ROOT = "/sys/fs/cgroup"


def join(paths: Sequence[str], log: Callable[[str], None]) -> None:
    """Move this process, and so all that it starts, into each of the cgroups, given as paths below ROOT.

    One that cannot be joined is logged and left: an import that is too fast is better than none.
    """
    for path in paths:
        place = os.path.normpath(f"{ROOT}/{path}")
        # cgroup v1 has `tasks`, v2 only `cgroup.procs`; both take a process id in the latter.
        try:
            if not place.startswith(ROOT + "/"):
                raise PermissionError(0, "outside of " + ROOT)
            with open(f"{place}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except OSError as error:
            log(f"SP_IMPORT_CGROUPS: cgroup {path} cannot be joined: {error.strerror}")
