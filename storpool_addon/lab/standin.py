"""Programs that stand before the real ones on an action's PATH: ssh to a lab host, and any tool, watched.

Each runs as a process of its own for every call, so it imports next to nothing.
"""

from __future__ import annotations

import _socket
import os
import sys
import time
from typing import NoReturn

# From ssh(1): options that take a value, and those that do not.
_VALUED = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
_PLAIN = frozenset("1246AaCfGgKkMNnqsTtVvXxYy")
_LOST = 255
_SEPARATOR = "\x1f"


class Desk:
    """The conductor's desk, asked about this process."""

    def __init__(self, address: str | None) -> None:
        self._socket = None
        if address is None:
            return
        desk = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            desk.connect(address)
        except OSError:
            return  # the lab is closing down, or this is no run of its
        self._socket = desk

    def ask(self, argv: list[str]) -> str:
        """What to do with this call: "act", "tell" (act, then ask `done`) or "refuse"."""
        words = [str(os.getpid()), str(os.getppid()), *(word.replace("\n", " ") for word in argv)]
        return self._say(_SEPARATOR.join(words)) or "act"

    def done(self) -> str:
        """The call has been made: "answer" or "refuse"."""
        return self._say("done") or "refuse"

    def _say(self, line: str) -> str:
        if self._socket is None:
            return ""
        self._socket.sendall(line.encode("utf-8", "surrogateescape") + b"\n")
        return self._socket.recv(64).decode().strip()


def tool(desk: str, directory: str) -> NoReturn:
    """Be a program that is further on on the PATH."""
    name = os.path.basename(sys.argv[0])
    real = _further_on(name, directory)
    _run(Desk(desk), [real, *sys.argv[1:]], [name, *sys.argv[1:]])


def ssh(
    desk: str | None,
    hosts: dict[str, str],
    enter: dict[str, list[str]],
    paths: dict[str, dict[str, str]] | None = None,
) -> NoReturn:
    """Be ssh(1) to the hosts of the lab.

    hosts: where each host's power state is written. enter: the command line that precedes one run on it.
    paths: what to put in the place of paths in a command for a host that has no view of its own.
    """
    host, command = _parsed(sys.argv[1:])
    asked = Desk(desk)
    verdict = asked.ask(["ssh", "--", host])
    if verdict == "refuse":
        _fail(f"ssh: connect to host {host} port 22: Connection refused")
    if host not in hosts:
        _fail(f"ssh: Could not resolve hostname {host.lower()}: Name or service not known")
    power = _power(hosts[host])
    if power == "hang":
        time.sleep(3600)
    if power != "on":
        _fail(f"ssh: connect to host {host} port 22: No route to host")
    argv = [*enter[host], "bash", "-c", translated(command, paths[host]) if paths else command]
    if verdict == "act":
        os.execvp(argv[0], argv)
    status = os.spawnvp(os.P_WAIT, argv[0], argv)
    if asked.done() == "refuse":
        _fail(f"client_loop: send disconnect: Broken pipe to {host}")
    os._exit(status if status >= 0 else _LOST)


def translated(text: str, paths: dict[str, str]) -> str:
    """A text with some paths replaced by others, in one pass from left to right, the longest path first."""
    wanted = sorted(paths, key=len, reverse=True)
    found, start = [], 0
    while start < len(text):
        path = next((each for each in wanted if text.startswith(each, start)), None)
        found.append(text[start] if path is None else paths[path])
        start += 1 if path is None else len(path)
    return "".join(found)


def _run(desk: Desk, argv: list[str], shown: list[str]) -> NoReturn:
    verdict = desk.ask(shown)
    if verdict == "act":
        os.execv(argv[0], argv)
    status = 1
    if verdict == "tell":
        status = os.spawnv(os.P_WAIT, argv[0], argv)
        verdict = desk.done()
    if verdict == "refuse":
        # ssh has an exit code of its own for a connection that failed.
        lost = "ssh" in shown[:8]
        os.write(2, b"ssh: connection lost\n" if lost else b"the lab made this program fail\n")
        os._exit(_LOST if lost else 1)
    os._exit(status if status >= 0 else 128 - status)


def _parsed(words: list[str]) -> tuple[str, str]:
    """Destination and command of ssh's arguments; as in ssh itself, options may follow the destination."""
    rest = _after_options(list(words))
    if not rest:
        _fail("usage: ssh [options] destination [command [argument ...]]")
    host = rest.pop(0)
    rest = _after_options(rest)
    return host.rpartition("@")[2], " ".join(rest)


def _after_options(words: list[str]) -> list[str]:
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        for index, letter in enumerate(word[1:], 2):
            if letter in _VALUED:
                if index == len(word):
                    if not words:
                        _fail(f"ssh: option requires an argument -- {letter}")
                    words.pop(0)
                break
            if letter not in _PLAIN:
                _fail(f"ssh: unknown option -- {letter}")
    return words


def _further_on(name: str, directory: str) -> str:
    for each in os.environ.get("PATH", "").split(":"):
        path = os.path.join(each, name)
        if each != directory and os.access(path, os.X_OK):
            return path
    os.write(2, f"{name}: command not found\n".encode())
    os._exit(127)


def _power(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def _fail(line: str) -> NoReturn:
    os.write(2, line.encode() + b"\n")
    os._exit(_LOST)
