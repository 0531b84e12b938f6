"""qemu-img on the host that works on an image: what is in an image, and its conversion into a device."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_addon.errors import HostError, StateError
from storpool_addon.hosts import longwork
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.process import Finished, Processes, describe

if TYPE_CHECKING:
    from storpool_addon.hosts.shell import Shell

INFO_TIMEOUT_S = 60.0
CONVERT_TIMEOUT_S = 24 * 3600.0
# A conversion that does not move by a hundredth of a percent in that time has lost its source or its disk.
STALL_S = 900.0
REPORT_EVERY_S = 5.0

# StorPool answers an attach when the device is there; udev's link to it may come a moment later.
_WAIT = PRELUDE + 'wait_for "${@: -1}"\n'
# A bridge must not go on writing when we are gone.
_WATCHED = _WAIT + longwork.WATCH + 'watched "$@"\n'
_FROM_STDIN = 'exec "$@"\n'
_PROGRESS = re.compile(rb"\((\d+)\.\d+/100%\)")

STDIN = "/dev/stdin"


class Image(NamedTuple):
    """An image as qemu-img opens it: its format is given, never guessed.

    where: an absolute path, an http(s) URL, or STDIN for the file that `stdin` is.
    """

    format: str
    where: str
    stdin: int | None = None

    @property
    def spec(self) -> str:
        """The image in qemu's JSON form, in which no character of a name means anything."""
        scheme = self.where.partition("://")[0] if "://" in self.where else ""
        if scheme in ("http", "https"):
            file: dict[str, object] = {"driver": scheme, "url": self.where, "timeout": 60}
        else:
            file = {"driver": "file", "filename": self.where}
        return "json:" + json.dumps({"driver": self.format, "file": file})


def virtual_size(processes: Processes, shell: Shell, image: Image, what: str) -> int:
    """Bytes that the disk in the image has; StateError when it leans on other files.

    Raises HostError when qemu-img cannot open it there.
    """
    argv = shell.command(_FROM_STDIN, *_info(image), timeout_s=INFO_TIMEOUT_S)
    child = processes.start(argv, stdin=image.stdin)
    try:
        printed = processes.finish(child, timeout_s=INFO_TIMEOUT_S + 10)
    except Finished as ended:
        raise HostError(shell.name, what, ended.exit_code, ended.last_line) from None
    try:
        found = json.loads(printed)
        size = int(found["virtual-size"])
    except (ValueError, KeyError, TypeError):
        raise HostError(shell.name, what, 0, "qemu-img info printed something else than its JSON") from None
    if leans := _leans(found):
        raise StateError(f"{what}: the image has {leans}; flatten it into one file first (qemu-img convert)")
    return size


def convert(
    processes: Processes, shell: Shell, image: Image, device: str, what: str, log: Callable[[str], None]
) -> None:
    """Write what the image holds into a device that reads zeros.

    Raises HostError when qemu-img fails or does not move.
    """
    _copied(processes, shell, ["--target-is-zero", image.spec, device], image.stdin, what, log)


def copy_device(
    processes: Processes, shell: Shell, source: str, device: str, what: str, log: Callable[[str], None]
) -> None:
    """Write all of one device into another, its zeros too.

    Raises HostError when qemu-img fails or does not move.
    """
    _copied(processes, shell, ["-f", "raw", source, device], None, what, log)


def _copied(
    processes: Processes,
    shell: Shell,
    arguments: Sequence[str],
    stdin: int | None,
    what: str,
    log: Callable[[str], None],
) -> None:
    command = ["qemu-img", "convert", "-p", "-n", "-t", "writeback", "-O", "raw", *arguments]
    script = _WATCHED if stdin is None else _WAIT + _FROM_STDIN
    argv = shell.command(script, *command, timeout_s=CONVERT_TIMEOUT_S)
    try:
        with (
            longwork.started(processes, argv)
            if stdin is None
            else nullcontext(processes.start(argv, stdin=stdin))
        ) as child:
            _follow(child, shell, what, log)
            processes.finish(child, timeout_s=STALL_S)
    except Finished as ended:
        last_line = ended.last_line or describe(ended, CONVERT_TIMEOUT_S)
        raise HostError(shell.name, what, ended.exit_code, last_line) from None


def _info(image: Image) -> list[str]:
    return ["qemu-img", "info", "--output=json", image.spec]


def _leans(found: dict[str, object]) -> str:
    """What qemu-img would read besides the image: its own word, after the header was looked at."""
    if "backing-filename" in found:
        return "a backing file"
    specific = found.get("format-specific")
    data = specific.get("data") if isinstance(specific, dict) else None
    if not isinstance(data, dict):
        return ""
    if "data-file" in data:
        return "an external data file"
    extents = data.get("extents")
    return "its data in other files" if isinstance(extents, list) and len(extents) > 1 else ""


def _follow(child: subprocess.Popen[bytes], shell: Shell, what: str, log: Callable[[str], None]) -> None:
    """Tell the log how far the conversion is, until it closes its output."""
    assert child.stdout is not None
    output = child.stdout.fileno()
    last = time.monotonic()
    while True:
        if not select.select([output], [], [], STALL_S)[0]:
            raise HostError(shell.name, what, None, f"no progress for {STALL_S:g} s")
        printed = os.read(output, 65536)
        if not printed:
            return
        found = _PROGRESS.findall(printed)
        if found and time.monotonic() - last >= REPORT_EVERY_S:
            last = time.monotonic()
            log(f"{what}: {found[-1].decode()} %")
