from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from storpool_addon.log import LOG_FILE, Log, tag_of


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("/var/lib/one/remotes/tm/storpool/clone", "tm_sp_clone"),
        ("/var/lib/one/remotes/datastore/storpool/cp", "ds_sp_cp"),
        ("/var/lib/one/remotes/vmm/kvm/deploy-tweaks", "vmm_sp_deploy-tweaks"),
        ("/var/lib/one/remotes/hooks/volumecare/volumecare", "vc_sp_volumecare"),
        ("/usr/bin/storpool-addon", "misc_sp_storpool-addon"),
        ("clone", "misc_sp_clone"),
        ("/srv/tm/x/var/lib/one/remotes/datastore/storpool/cp", "ds_sp_cp"),
    ],
)
def test_tag(path: str, tag: str) -> None:
    assert tag_of(path) == tag


def test_line(tmp_path: Path) -> None:
    log = Log("tm_sp_clone", str(tmp_path / "log"))
    log("volume one-img-7\nforged \x1b[31m \udcff")
    line = (tmp_path / "log").read_text()
    pattern = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{{4}} tm_sp_clone\[{os.getpid()}\] (.*)\n"
    match = re.fullmatch(pattern, line)
    assert match is not None
    assert match[1].startswith("volume one-img-7 forged  [31m ")


def test_lines_are_appended_and_not_readable_by_all(tmp_path: Path) -> None:
    log = Log("t", str(tmp_path / "log"))
    log("first")
    log("second")
    assert (tmp_path / "log").read_text().count("\n") == 2
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "log").symlink_to(tmp_path / "target")
    Log("t", str(tmp_path / "log"))("text")
    assert (tmp_path / "target").read_text() == ""


@pytest.mark.parametrize("file", ["/nowhere/log", "/"])
def test_log_that_cannot_be_written_fails_nobody(file: str) -> None:
    Log("t", file)("text")


def test_bug_tells_where_and_with_which_arguments(tmp_path: Path) -> None:
    log = Log("t", str(tmp_path / "log"))
    try:
        raise KeyError("gone")
    except KeyError:
        log.bug(["clone", "a b"])
    text = (tmp_path / "log").read_text()
    assert "bug while running ['clone', 'a b']" in text
    assert "KeyError: 'gone'" in text
    assert "test_bug_tells" in text


@pytest.mark.parametrize(("value", "file"), [("1", LOG_FILE), ("yes", LOG_FILE), ("0", None), ("", None)])
def test_file_is_asked_for_in_the_environment(value: str, file: str | None) -> None:
    assert Log.for_script("/x/tm/storpool/mv", {"LOG_TO_FILE": value}).file == file
    assert Log.for_script("/x/tm/storpool/mv", {}).file is None


def test_syslog_gets_the_line_without_a_log_file() -> None:
    """The library's own echo of syslog(3) to stderr (LOG_PERROR) shows what was sent."""
    program = (
        "import syslog; from storpool_addon.log import Log; send = syslog.openlog\n"
        "syslog.openlog = lambda tag, _options, facility: send(tag, syslog.LOG_PERROR, facility)\n"
        "Log('tm_sp_clone')('volume one-img-7 made')"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, timeout=30
    )
    assert re.fullmatch(r"tm_sp_clone: \[\d+\] volume one-img-7 made\n", done.stderr)
