"""The demo: `python -m storpool_addon.lab.demo` plays a cloud on this machine and tells what it does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack

from storpool_addon.lab.hosts import NoHosts
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.programs import CHECKOUT
from storpool_addon.lab.report import Report
from storpool_addon.lab.running import Running
from storpool_addon.lab.story import Story


def main() -> int:
    """Tell the story; 0 when all was as expected, 1 when not, 2 when it cannot be told here."""
    report = Report()
    with ExitStack() as ends:
        directory = tempfile.mkdtemp(prefix="storpool-demo-")
        ends.callback(shutil.rmtree, directory, ignore_errors=True)
        os.chmod(directory, 0o755)
        try:
            _play(report, directory, ends)
        except NoHosts as reason:
            report.say(f"The demo cannot run: {reason}.")
            return 2
    report.table()
    return 0 if report.is_well else 1


def _play(report: Report, directory: str, ends: ExitStack) -> None:
    tree, scratch = os.path.join(directory, "installed"), os.path.join(directory, "scratch")
    os.mkdir(scratch)
    with report.step("install the driver into a directory of its own"):
        _install(report, tree)
    if not report.is_well:
        return
    with report.step("start StorPool, oned, a front-end and two hosts"):
        lab = ends.enter_context(_lab(report, directory, tree))
        lab.configure(DELAY_DELETE="48h")
    Story(lab, report, scratch).tell()
    if report.is_well:
        Running(report, directory, tree).tell()


def _install(report: Report, tree: str) -> None:
    command = [sys.executable, os.path.join(CHECKOUT, "install.py"), "--root", tree]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    report.expect((done.returncode, done.stderr), (0, ""), "install.py")


def _lab(report: Report, directory: str, tree: str) -> Lab:
    """Real hosts when this machine allows them, else hosts that are played by files."""
    kinds = (
        (True, False, "each host has its own sshd, processes and loop devices; the driver runs as oneadmin"),
        (False, False, "each host is a private view of the file system; devices are files"),
        (False, True, "each host is a directory, devices are files, and paths are replaced in commands"),
    )
    reason = NoHosts("no hosts")
    for number, (real, plain, what) in enumerate(kinds):
        try:
            lab = Lab(os.path.join(directory, f"lab{number}"), tree, real=real, plain=plain)
        except NoHosts as refusal:
            reason = refusal
            report.say(f"    {reason}")
        else:
            report.say(f"    {what}")
            return lab
    raise reason


if __name__ == "__main__":
    sys.exit(main())
