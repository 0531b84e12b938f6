"""The demo: that it tells the whole story, and that it would notice if something were wrong."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from storpool_addon.lab import demo, programs
from storpool_addon.lab.command import Command, Result, StepFailed
from storpool_addon.lab.hosts import NoHosts
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.material import Material
from storpool_addon.lab.report import Report
from storpool_addon.lab.story import Story


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.mark.parametrize("plain", [False, True])
def test_the_story_ends_well(installed_tree: str, tmp_path: Path, out: io.StringIO, plain: bool) -> None:
    (tmp_path / "scratch").mkdir()
    report = Report(out)
    try:
        lab = Lab(str(tmp_path / "lab"), installed_tree, plain=plain)
    except NoHosts as reason:
        pytest.skip(str(reason))
    with lab:
        Story(lab, report, str(tmp_path / "scratch")).tell()
    assert report.is_well, out.getvalue()
    assert len(report.lines) == (16 if plain else 19)
    assert all(line.checks for line in report.lines)


def test_the_story_stops_where_something_is_wrong(lab: Lab, tmp_path: Path, out: io.StringIO) -> None:
    (tmp_path / "scratch").mkdir()
    report = Report(out)
    # A volume that nobody knows of.
    lab.storpool("VolumeCreate", {"name": "stranger", "size": 1 << 20, "template": "one-ds-101"})
    Story(lab, report, str(tmp_path / "scratch")).tell()
    assert [bool(line.problems) for line in report.lines] == [False, True]
    assert "stranger" in out.getvalue()


def test_a_report_says_what_differs(out: io.StringIO) -> None:
    report = Report(out)
    with report.step("first"):
        report.expect(1, 1, "one")
    with report.step("second"):
        report.expect("a", "b", "letter")
        report.scripts += 2
    with report.step("third"):
        raise StepFailed(Command("tm/storpool/clone", ("x",)), Result(1, "", "", [], 0.0), "no")
    report.table()
    text = out.getvalue()
    assert not report.is_well
    assert "    letter: 'a', expected 'b'\n" in text
    assert "    tm/storpool/clone x: no\n" in text
    assert text.rstrip().endswith("NOT as expected")
    assert "\x1b" not in text


def test_where_programs_are_missing_the_story_is_plainer_and_says_so(
    lab: Lab, tmp_path: Path, out: io.StringIO
) -> None:
    (tmp_path / "scratch").mkdir()
    report = Report(out)
    Story(lab, report, str(tmp_path / "scratch"), Material(report, str(tmp_path))).tell()
    text = out.getvalue()
    assert report.is_well, text
    assert len(report.lines) == 17
    assert all(line.checks for line in report.lines)
    for program, instead in (("qemu-img", "raw"), ("mkfs.ext4", "no file system"), ("xorriso", "no context")):
        assert re.search(f"^    {program} .*is not installed: .*{instead}", text, re.MULTILINE)
    assert "qcow2 image" not in text and ", context" not in text


def test_a_machine_without_hosts_is_told_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "SYSTEM_PATH", str(tmp_path))
    assert demo.main() == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("The demo cannot run: ") and last.endswith(" is not installed.")
