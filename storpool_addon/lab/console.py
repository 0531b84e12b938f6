"""The serial line of a guest, as a person at its console would use it: a command, and what it prints."""

from __future__ import annotations

import os
import re
import socket
import time
from typing import NamedTuple

BOOT_S, COMMAND_S = 240.0, 60.0
_REFUSED_S = 10.0


def line(vm_id: int) -> str:
    """Where the serial line of a VM ends on its host."""
    return f"/var/tmp/line-{vm_id}"


def raw(vm_id: int) -> dict[str, str]:
    """The RAW of a VM's template that gives it this serial line."""
    source = f"<source mode='bind' path='{line(vm_id)}'/>"
    device = f"<serial type='unix'>{source}<target port='0'/></serial>"
    return {"TYPE": "kvm", "DATA": f"<devices>{device}</devices>"}


class GuestError(Exception):
    """A guest did not answer, or a command in it failed."""


class Reply(NamedTuple):
    """What a command printed, without the last line's end."""

    code: int
    output: str


class Console:
    """path: the socket that QEMU listens on, on this machine. log: all that the guest has ever printed."""

    def __init__(self, path: str) -> None:
        self.log = ""
        self._number = 0
        self._read = 0
        self._socket = _connected(path)

    def close(self) -> None:
        """Let the line go; QEMU listens for the next."""
        self._socket.close()

    def move(self, path: str) -> None:
        """Go on where the guest is now: after a migration, or when it was started again."""
        self.close()
        self._socket = _connected(path)

    def wait_ready(self, timeout_s: float = BOOT_S) -> float:
        """Wait until a guest that boots can take its first command; its uptime in seconds."""
        return float(self._expect(r"\nready (\S+)\r?\n", timeout_s)[1])

    def ask(self, command: str, timeout_s: float = COMMAND_S) -> Reply:
        """Run a command of one line, whatever comes of it."""
        self._number += 1
        self._socket.sendall(f"do {self._number} {command}\n".encode())
        pattern = rf"\nbegin {self._number}\r?\n(.*?)\r?\ndone {self._number} (\d+)\r?\n"
        answer = self._expect(pattern, timeout_s)
        return Reply(int(answer[2]), answer[1].replace("\r", "").rstrip("\n"))

    def run(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """What a command printed; GuestError unless it succeeds."""
        reply = self.ask(command, timeout_s)
        if reply.code != 0:
            raise GuestError(f"in the guest, `{command}` ended with {reply.code}: {reply.output}")
        return reply.output

    def _expect(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """Read until the pattern is there, behind what was found before."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.compile(pattern, re.DOTALL).search(self.log, self._read)):
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                piece = self._socket.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                raise GuestError(f"the guest's console said nothing like {pattern!r}; its end: {self._end}")
            self.log += piece.decode(errors="replace")
        # The line's end belongs to the next answer as well.
        self._read = found.end() - 1
        return found

    @property
    def _end(self) -> str:
        return repr(self.log[-400:])


def _connected(path: str) -> socket.socket:
    """A connection to the socket, which a domain that has just started may not have made yet."""
    deadline = time.monotonic() + _REFUSED_S
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        # An address has 108 bytes at most; the directory of a lab may be longer.
        while True:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                line.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
            except OSError as error:
                line.close()
                if time.monotonic() > deadline:
                    raise GuestError(f"no guest listens at {path}: {error.strerror}") from None
                time.sleep(0.05)
            else:
                return line
    finally:
        os.close(directory)
