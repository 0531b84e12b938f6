"""What the demo's disks hold, made and read with the programs that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from storpool_addon.lab.programs import ISO_BUILDERS, SYSTEM_PATH, is_there
from storpool_addon.lab.report import Report

SIZE = 32 << 20
HELLO = b"hello from the demo's image\n"
MARK = b"written by the first VM alone\n"
# Where the content of a file is on a disk without a file system.
_PLACES = {"hello": 1 << 20, "mark": 2 << 20}


class Material:
    """Images and the files in them; plainer ones where a program is missing.

    format: of the image file. fs: the file system of the disks, "" for none. has_context: whether context
    images can be built. lacking: a line for each that is plainer. path: where programs are looked for.
    """

    def __init__(self, report: Report, path: str = SYSTEM_PATH) -> None:
        self._report = report
        self._environ = {**os.environ, "PATH": path}
        qcow2 = is_there("qemu-img", path=path)
        fs = is_there("mkfs.ext4", path=path) and is_there("debugfs", path=path)
        self.format, self.fs = "qcow2" if qcow2 else "raw", "ext4" if fs else ""
        self.has_context = is_there(*ISO_BUILDERS, path=path)
        said = {
            "qemu-img is not installed: the image is raw instead of qcow2": qcow2,
            "mkfs.ext4 or debugfs is not installed: disks have no file system": fs,
            "xorriso is not installed: the VMs have no context image": self.has_context,
        }
        self.lacking = [line for line, there in said.items() if not there]

    def make(self, scratch: str) -> str:
        """A raw disk with the file `hello`, in the directory `scratch`; its path."""
        tree, raw = os.path.join(scratch, "tree"), os.path.join(scratch, "demo.raw")
        os.mkdir(tree)
        _write(os.path.join(tree, "hello"), HELLO)
        with open(raw, "wb") as file:
            file.truncate(SIZE)
        if self.fs:
            self._tool("mkfs.ext4", "-q", "-F", "-d", tree, raw)
        else:
            self.write(raw, "hello", os.path.join(tree, "hello"))
        return raw

    def convert(self, raw: str, image: str) -> None:
        """Make the image file of a raw disk, readable for everyone."""
        if self.format == "raw":
            shutil.copyfile(raw, image)
        else:
            self._tool("qemu-img", "convert", "-f", "raw", "-O", self.format, raw, image)
        os.chmod(image, 0o644)

    def write(self, device: str, name: str, source: str) -> None:
        """Copy the file `source` onto a disk, under this name."""
        if self.fs:
            self._tool("debugfs", "-w", "-R", f"write {source} {name}", device)
            return
        with open(device, "r+b") as disk, open(source, "rb") as file:
            disk.seek(_PLACES[name])
            disk.write(file.read())

    def read(self, device: str, name: str) -> bytes:
        """A file of a disk, without mounting it; empty when there is none."""
        if self.fs:
            return self._run(["debugfs", "-R", f"cat /{name}", device]).stdout
        with open(device, "rb") as disk:
            disk.seek(_PLACES[name])
            return disk.read(512).partition(b"\0")[0]

    def _tool(self, *argv: str) -> None:
        done = self._run(argv)
        self._report.expect((done.returncode, done.stderr if done.returncode else b""), (0, b""), argv[0])

    def _run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        nothing = subprocess.DEVNULL
        return subprocess.run(argv, capture_output=True, env=self._environ, stdin=nothing, check=False)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
