"""The directory in which a host prepares a backup: filled by a program of ours that is sent there."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, NamedTuple

from storpool_addon.errors import HostError, HostUnreachable, UsageError
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.process import Finished, Processes, describe
from storpool_addon.hosts.shell import UNREACHABLE, Shell

TIMEOUT_S = 24 * 3600.0
# A disk of which nothing more comes in that time has lost its device or the space to write to.
STALL_S = 900.0
END_S = 30.0
REMOVE_TIMEOUT_S = 600.0
REPORT_EVERY_S = 5.0
ONHOST = "storpool_addon.onhost"
# The program, in the order in which one part needs another; the last one's main() is the whole.
_PARTS = ("source", "threads", "qcow2", "increment", "whole", "export")
# The program and its job come on standard input, which is held open: it ends when we do. Each part becomes a
# module under its full name: for one that is known an import looks for no package around it.
BOOT = """
import json, sys, types
for name, text in json.loads(sys.stdin.buffer.readline().decode()):
    part = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), part.__dict__)
part.main()
"""
# Every client of StorPool has a Python of StorPool's; Enterprise Linux 8 has one that is on no PATH.
_RUN = (
    PRELUDE
    + r"""
nice=$1 ionice=$2 boot=$3; shift 3
for device; do wait_for "$device"; done
before=()
[ -z "$nice" ] || before+=(nice -n "$nice")
[ -z "$ionice" ] || before+=(ionice -c 2 -n "$ionice")
for python in python3 /opt/storpool/python3/bin/python3 /usr/libexec/platform-python; do
    command -v "$python" >/dev/null || continue
    exec ${before[@]+"${before[@]}"} "$python" -I -c "$boot"
done
fail "no python3 is installed there; install it"
"""
)
# Whoever wrote there may be ending at this very moment.
_REMOVE = (
    PRELUDE
    + r"""
for _ in {1..50}; do
    rm -rf --one-file-system "$1" 2>/dev/null || true
    [ -e "$1" ] || break
    sleep 0.1
done
[ ! -e "$1" ] || fail "$1 cannot be removed"
[ -z "$2" ] || rmdir "$2" 2>/dev/null || true
"""
)
# As OpenNebula's own drivers do: a helper of theirs, where it may be run, brings the state up to date.
_TPM = (
    PRELUDE
    + r"""
for helper in /usr/libexec/one/vtpm_setup "$3/vtpm_setup"; do
    if [ -n "$2" ] && sudo -n -l "$helper" >/dev/null 2>&1; then
        sudo -n "$helper" backup "$2" "$1" >/dev/null
        break
    fi
done
[ -d "$1/tpm" ] || exit 0
tar -C "$1" -czf - tpm | base64 -w0
"""
)
_DIRECTORY = re.compile(r"(/[^/]+)*/[0-9]+/backup", re.ASCII)


class Disk(NamedTuple):
    """One file to write. kind: "full", or "increment" of base (a device, "" when that is lost)."""

    target: str
    device: str
    base: str
    kind: str


class Place(NamedTuple):
    """Where the files go. nice, ionice: how far this stands back for others, "" for not at all."""

    shell: Shell
    directory: str
    nice: str = ""
    ionice: str = ""


def fill(
    processes: Processes,
    place: Place,
    files: Mapping[str, bytes],
    disks: Sequence[Disk],
    what: str,
    log: Callable[[str], None],
) -> None:
    """Make the directory anew and write everything into it; HostError when that fails or does not go on."""
    _check(place.directory)
    shell = place.shell
    devices = [path for disk in disks for path in (disk.device, disk.base) if path]
    argv = shell.command(_RUN, place.nice, place.ionice, BOOT, *devices, timeout_s=TIMEOUT_S)
    child = processes.start(argv, stdin=subprocess.PIPE)
    try:
        _send(child, _order(place.directory, files, disks), shell, what)
        if not _follow(child, shell, what, log):
            raise _ended(processes, child, shell, what, place.directory)
        processes.finish(child, timeout_s=END_S)
    except Finished as ended:
        raise _error(shell, what, ended) from None
    finally:
        if child.returncode is None:
            processes.end(child)


def remove(shell: Shell, directory: str, parent: str = "") -> None:
    """Remove the directory; parent: as well, once it is empty."""
    shell.run(_REMOVE, _check(directory), parent, what=f"removing {directory}", timeout_s=REMOVE_TIMEOUT_S)


def tpm_state(shell: Shell, home: str, deploy_id: str, remotes: str) -> bytes:
    """The state of a VM's virtual TPM as a packed archive of its directory; nothing when there is none.

    deploy_id: "" for a VM that is off. remotes: OpenNebula's directory of scripts on hosts.
    """
    from base64 import b64decode

    return b64decode(shell.run(_TPM, home, deploy_id, remotes, what="reading the state of the virtual TPM"))


def _check(directory: str) -> str:
    if not _DIRECTORY.fullmatch(directory) or ".." in directory.split("/"):
        raise UsageError(f"{directory!r} is not where a backup is prepared (…/<VM id>/backup)")
    return directory


def _order(directory: str, files: Mapping[str, bytes], disks: Iterable[Disk]) -> bytes:
    """What standard input begins with: the program, and the job."""
    packed = {name: b64encode(content).decode() for name, content in files.items()}
    job = {"directory": directory, "files": packed, "disks": [disk._asdict() for disk in disks]}
    return b"%s%s\n" % (program(), json.dumps(job).encode())


def program() -> bytes:
    """What BOOT reads and becomes: one line."""
    directory = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "onhost")
    parts = []
    for name in _PARTS:
        with open(os.path.join(directory, f"{name}.py"), encoding="utf-8") as source:
            parts.append((f"{ONHOST}.{name}", source.read()))
    return json.dumps(parts).encode() + b"\n"


def _send(child: subprocess.Popen[bytes], data: bytes, shell: Shell, what: str) -> None:
    assert child.stdin is not None
    pipe, rest, give_up = child.stdin.fileno(), memoryview(data), time.monotonic() + STALL_S
    os.set_blocking(pipe, False)
    while rest:
        if not select.select([], [pipe], [], max(give_up - time.monotonic(), 0))[1]:
            raise HostError(shell.name, what, None, f"no answer for {STALL_S:g} s")
        try:
            rest = rest[os.write(pipe, rest) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            return  # why it ended is told by its output


def _follow(child: subprocess.Popen[bytes], shell: Shell, what: str, log: Callable[[str], None]) -> bool:
    """Tell the log how far it is until it ends; whether it said that all is done."""
    assert child.stdout is not None
    output, text, last, done = child.stdout.fileno(), b"", b"", False
    moved = told = time.monotonic()
    while True:
        left_s = moved + STALL_S - time.monotonic()
        if left_s <= 0 or not select.select([output], [], [], left_s)[0]:
            raise HostError(shell.name, what, None, f"no progress for {STALL_S:g} s")
        printed = os.read(output, 65536)
        if not printed:
            return done
        *lines, text = (text + printed).split(b"\n")
        done = done or b"done" in lines
        if lines and lines[-1] != last:
            last, moved = lines[-1], time.monotonic()
            if moved - told >= REPORT_EVERY_S and last.isdigit():
                told = moved
                log(f"{what}: {int(last) >> 20} MiB")


def _ended(
    processes: Processes, child: subprocess.Popen[bytes], shell: Shell, what: str, directory: str
) -> HostError:
    """Why it ended before it was done."""
    try:
        processes.finish(child, timeout_s=END_S)
    except Finished as ended:
        error = _error(shell, what, ended)
        if "No space left" in ended.last_line:
            error.args = (f"{error}; make room where {directory} is, or set BACKUP_BASE_PATH",)
        return error
    return HostError(shell.name, what, 0, "it ended before it was done")


def _error(shell: Shell, what: str, ended: Finished) -> HostError:
    kind = HostUnreachable if shell.remote and ended.exit_code == UNREACHABLE else HostError
    return kind(shell.name, what, ended.exit_code, ended.last_line or describe(ended, END_S))
