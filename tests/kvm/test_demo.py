"""The demo's chapter about a guest that runs."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from storpool_addon.lab.guest import Guest
from storpool_addon.lab.report import Report
from storpool_addon.lab.running import Running

pytestmark = [
    pytest.mark.xdist_group("libvirt"),
    pytest.mark.needs("libvirtd", "virsh", "qemu-system-x86_64"),
]


@pytest.fixture
def directory() -> Iterator[str]:
    """Open to the service user, as pytest's own are not."""
    path = tempfile.mkdtemp(prefix="storpool-demo-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


def test_a_guest_runs_in_the_demo(installed_tree: str, directory: str, guest: Guest) -> None:
    out = io.StringIO()
    report = Report(out)
    Running(report, directory, installed_tree).tell()
    told = out.getvalue()
    if "no guest runs: " in told:
        pytest.skip(told.strip())
    assert report.is_well and len(report.lines) == 7, told
    assert '+\t\t<disk type="block" device="cdrom">' in told
