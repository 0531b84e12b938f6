"""What OpenNebula's probes start on hosts for directories that the bash addon has marked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "remotes" / "tm" / "storpool" / "monitor_ds"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_mark_goes_and_nothing_is_said(tmp_path: Path, shell: str) -> None:
    """With no Python and no package of ours; again, and for a directory that is not there."""
    directory = tmp_path / "100 -rf"
    (directory / "42").mkdir(parents=True)
    (directory / "42" / "disk.0.monitor").write_text("storpool\n")
    (directory / ".monitor").write_text("storpool\n")
    for path in (str(directory), str(directory), "/nowhere", ""):
        done = subprocess.run(
            [shell, str(SCRIPT), path], capture_output=True, check=False, env={"PATH": "/bin:/usr/bin"}
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [each.name for each in directory.iterdir()] == ["42"]
    assert (directory / "42" / "disk.0.monitor").exists()
