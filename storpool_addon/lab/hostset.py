"""The hosts of a lab together: what all kinds of them have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Callable, TypeVar

from storpool_addon.lab.hosts import Host
from storpool_addon.lab.programs import SYSTEM_PATH, program

T = TypeVar("T")
H = TypeVar("H", bound="Hosts")


class Hosts:
    """The front-end and the nodes. directory: has bin, which comes first on an action's PATH, and tmp.

    frontend_has_devices: volumes can be attached to the front-end too.
    """

    frontend: Host
    nodes: dict[str, Host]
    frontend_has_devices = True

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._temporary = os.path.join(directory, "tmp")
        os.makedirs(self._temporary, exist_ok=True)

    def __enter__(self: H) -> H:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def action_argv(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> list[str]:
        """The command line that becomes `argv` on the front-end, in the very same process."""
        programs = os.path.join(self._directory, "bin")
        words = {**environment, "PATH": f"{programs}:{SYSTEM_PATH}", "TMPDIR": self._temporary}
        assigned = [f"{name}={value}" for name, value in words.items()]
        return [*self.frontend.enter, program("env"), "-i", "-C", directory, *assigned, *argv]

    def given(self, stdin: bytes) -> bytes:
        """What an action reads, in the words of the front-end."""
        return stdin

    def within(self, function: Callable[[], T]) -> T:
        """Call a function so that the sockets it makes are in the hosts' network."""
        return function()

    def restart(self) -> None:
        """Bring every host back to power."""
        for host in self.nodes.values():
            host.power_on()

    def close(self) -> None:
        """Give everything back."""
