"""What stands for OpenNebula's rsync backup driver and its downloader.sh: a directory instead of a server.

Each script is a process of its own. What it takes and prints, and how it rebuilds a chain of increments, is
as in OpenNebula (src/datastore_mad/remotes/rsync, rsync_downloader.rb).
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Callable, NoReturn
from xml.etree import ElementTree

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DISK = re.compile(r"disk\.(\w+)")
_sending: list[subprocess.Popen[bytes]] = []


class Failed(Exception):
    """What the script says on standard error."""


def main(store: str) -> NoReturn:
    """Be the script that this process was started as. store: the directory of the server."""
    scripts: dict[str, Callable[[str, list[str]], str]] = {
        "backup": backup, "backup_cancel": backup_cancel, "ls": ls, "stat": stat, "downloader.sh": download,
    }  # fmt: skip
    name = os.path.basename(sys.argv[0])
    # The real ones are Ruby, and are looked for by that name.
    with open("/proc/self/comm", "w") as comm:
        comm.write("ruby")
    try:
        print(scripts[name](store, sys.argv[1:]), end="", flush=True)
    except (Failed, subprocess.CalledProcessError, OSError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.stderr.flush()
        os._exit(255)
    os._exit(0)


def backup(store: str, args: list[str]) -> str:
    """`host:dir disks uuid job vm datastore`: fetch the files that were laid out on the host."""
    place, _disks, _uuid, _job, vm_id, _datastore = args
    host, directory = place.split(":", 1)
    bridge = ElementTree.fromstring(sys.stdin.read()).findtext("VM/BACKUPS/BACKUP_CONFIG/LAST_BRIDGE")
    base = _configured("BACKUP_BASE_PATH")
    source = f"{base}/{vm_id}/backup" if base else f"{directory}/backup"
    backup_id = os.urandom(3).hex()
    target = os.path.join(store, vm_id, backup_id)
    os.makedirs(target)

    def cancelled(_number: int, _frame: object) -> NoReturn:
        for child in _sending:
            child.kill()
        shutil.rmtree(target, ignore_errors=True)
        os.write(2, f"Backup cancelled: {backup_id}\n".encode())
        os._exit(255)

    signal.signal(signal.SIGTERM, cancelled)
    try:
        _pull(bridge or host, os.path.normpath(source), target)
    except Failed:
        shutil.rmtree(target)
        raise
    kib = int(_run("du", "-sk", target).split()[0])
    return f"{backup_id} {-(-kib // 1024)} raw\n"


def _pull(host: str, source: str, target: str) -> None:
    command = f"ls '{source}'/disk.* >/dev/null && tar -C '{source}' --sparse -cf - ."
    with subprocess.Popen(["ssh", "--", host, command], stdout=subprocess.PIPE) as sending:
        _sending.append(sending)
        received = subprocess.run(
            ["tar", "-C", target, "-xf", "-"], stdin=sending.stdout, env=_environment(), check=False
        )
    if sending.returncode or received.returncode:
        raise Failed(f"Error copying backup: {source} of {host} cannot be had")


def backup_cancel(_store: str, args: list[str]) -> str:
    """`host:dir uuid`: end the scripts of the backup, found by their names and words."""
    wanted = re.compile(rf"(pre)?backup(_live)? .*{re.escape(args[1])} ")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/cmdline") as line:
                found = comm.read() == "ruby\n" and wanted.search(line.read().replace("\0", " "))
            # A machine may hold several labs: the other ones' backups are theirs.
            if found and int(pid) != os.getpid() and _world(pid) == _world("self"):
                os.kill(int(pid), signal.SIGTERM)
        except OSError:
            continue
    return ""


def _world(pid: str) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as environment:
        return [word for word in environment.read().split(b"\0") if word.startswith(b"TMPDIR=")]


def ls(store: str, args: list[str]) -> str:
    """`-i INCREMENT`: the disks in a backup, each with its URL."""
    increment, document = int(args[args.index("-i") + 1]), ElementTree.fromstring(sys.stdin.read())
    found = document.iterfind("IMAGE/BACKUP_INCREMENTS/INCREMENT")
    chain = [(int(each.findtext("ID", "")), each.findtext("SOURCE", "")) for each in found]
    chain = chain or [(0, document.findtext("IMAGE/SOURCE", ""))]
    vm_id = document.findtext("IMAGE/VMS/ID", "")
    words = ",".join(f"{number}:{name}" for number, name in chain if increment == -1 or number <= increment)
    # The newest one's files are listed, whichever is asked for: so does OpenNebula's.
    directory = os.path.join(store, vm_id, chain[-1][1])
    if not os.path.isdir(directory):
        raise Failed(f"Error listing backups: no {chain[-1][1]}")
    datastore_id = document.findtext("DATASTORE/ID")
    base = os.path.normpath(document.findtext("DATASTORE/BASE_PATH", ""))
    url = f"rsync://{datastore_id}//{words}{base}/{vm_id}/{chain[-1][1]}"
    disks = {
        match[1]: f"{url}/{name}" for name in sorted(os.listdir(directory)) if (match := _DISK.match(name))
    }
    return json.dumps(disks) + "\n"


def stat(store: str, _args: list[str]) -> str:
    """The size of what an image is to be made of."""
    document = ElementTree.fromstring(base64.b64decode(sys.stdin.buffer.read()))
    path = _chain(store, document.findtext("IMAGE/PATH", ""))[-1]
    size = json.loads(_run("qemu-img", "info", "--output=json", path))["virtual-size"]
    return f"{-(-int(size) >> 20)}\n"


def download(store: str, args: list[str]) -> str:
    """`[options] URL TARGET`: the disk of a backup as one file, whatever it was kept in."""
    url, target = args[-2:]
    if not url.startswith("rsync://"):
        raise Failed(f"Cannot read from {url}")
    paths = _chain(store, url)
    tokens = url.removeprefix("rsync://").split("/")
    if len(paths) == 1:
        # A chain of one is read by the path that the URL ends with.
        _give(os.path.join(store, *tokens[-3:]), target)
        return ""
    # OpenNebula does this where the files are, and leaves them chained.
    with tempfile.TemporaryDirectory() as directory:
        copies = [shutil.copy(path, os.path.join(directory, os.path.basename(path))) for path in paths]
        for backing, path in zip(copies, copies[1:]):
            _run("qemu-img", "rebase", "-u", "-F", "qcow2", "-b", backing, path)
        whole = os.path.join(directory, "whole")
        _run("qemu-img", "convert", "-O", "qcow2", copies[-1], whole)
        _give(whole, target)
    return ""


def _chain(store: str, url: str) -> list[str]:
    """`rsync://100/JOB/0:8a3454,1:f6e63e/var/…/100/6/f6e63e/disk.0.1`: the files, in order."""
    tokens = url.removeprefix("rsync://").split("/")
    vm_id, disk = tokens[-3], tokens[-1].split(".")[1]
    pairs = [word.split(":") for word in tokens[2].split(",")]
    return [os.path.join(store, vm_id, name, f"disk.{disk}.{number}") for number, name in pairs]


def _give(path: str, target: str) -> None:
    if target == "-":
        subprocess.run(["cat", "--", path], check=True, env=_environment())
    else:
        shutil.copyfile(path, target)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, env=_environment(), check=False)
    if done.returncode:
        raise Failed(done.stderr.strip() or f"{argv[0]} ended with {done.returncode}")
    return done.stdout


def _environment() -> dict[str, str]:
    # The server's programs are none of the lab's business.
    return {**os.environ, "PATH": SYSTEM_PATH}


def _configured(key: str) -> str:
    path = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "../../etc/datastore/datastore.conf")
    try:
        with open(path) as file:
            found = re.findall(rf'^(?:export\s+)?{key}="?([^"\n]+)"?$', file.read(), re.MULTILINE)
    except OSError:
        return ""
    return found[-1] if found else ""
