"""What fences did, when, and in whose name: lines of JSON in a private file that is only added to."""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import StateError

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.hooks.cutting import Cut

# Below the service user's home.
FILE = ".storpool-addon/fence.log"


class Entry(NamedTuple):
    """One fence of one host. who: a person or process, and where."""

    host: str
    host_id: int
    who: str
    cuts: Sequence[Cut]

    def line(self, event: str, volumes: Mapping[str, Sequence[str]], troubles: Sequence[str] = ()) -> str:
        """What happened, as JSON. volumes: by the title of the cluster's client."""
        clients = [
            {
                "client": int(cut.client),
                "api": cut.title,
                "volumes": list(volumes.get(str(cut), ())),
                "proof": cut.proof,
            }
            for cut in self.cuts
        ]
        entry = {
            "time": now(),
            "event": event,
            "host": self.host,
            "host_id": self.host_id,
            "by": self.who,
            "clients": clients,
        }
        return json.dumps({**entry, "troubles": list(troubles)} if troubles else entry)


def now() -> str:
    """The time, for people and programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def who(driver: Driver) -> str:
    """In whose name this process acts: the person behind sudo, or the user, on this front-end."""
    name = driver.environ.get("SUDO_USER") or pwd.getpwuid(os.geteuid()).pw_name
    return f"{name} on {driver.hosts.here.name} ({driver.log.tag}, process {os.getpid()})"


def append(driver: Driver, line: str) -> None:
    """Add a line, and have it on the disk; StateError when that cannot be."""
    path = os.path.join(driver.home, FILE)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StateError(f"{path}, which says what was fenced, cannot be written: {error}") from None
