"""A PATH means exactly one thing, and a local one is only read where users may read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storpool_addon.datastore import source
from storpool_addon.datastore.source import DiskOfVmSnapshot, Downloaded, File, NamedSnapshot, Ssh, Web
from storpool_addon.errors import StateError, UsageError


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("http://h/a", Web("http://h/a")),
        ("https://u:p@h:8443/a?b=$(id)&c='d'", Web("https://u:p@h:8443/a?b=$(id)&c='d'")),
        ("/var/tmp/a b", File("/var/tmp/a b")),
        ("/var/tmp/-x'\"$(reboot)\n", File("/var/tmp/-x'\"$(reboot)\n")),
        ("ssh://node1:/img/a b", Ssh("", "node1", "/img/a b")),
        ("ssh://oneadmin@node1.example.com:/a", Ssh("oneadmin", "node1.example.com", "/a")),
        ("ssh://[fd00::1]:/a", Ssh("", "fd00::1", "/a")),
        ("s3://bucket/key", Downloaded("s3://bucket/key")),
        ("rsync://100//var/x/disk.0?arg=1", Downloaded("rsync://100//var/x/disk.0?arg=1")),
        ("restic+rbd://100/42", Downloaded("restic+rbd://100/42")),
    ],
)
def test_meaning_of_a_path(path: str, meaning: object) -> None:
    assert source.classify(path) == meaning


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", "no PATH"),
        ("a\0b", "no PATH"),
        ("-rf", "neither a URL nor an absolute path"),
        ("images/a", "neither a URL nor an absolute path"),
        ("~/a", "neither a URL nor an absolute path"),
        ("file:///etc/shadow", "file:// is not supported; use http"),
        ("gopher://h/", "gopher:// is not supported"),
        ("http://h/a b", "a blank or a control character"),
        ("http://h/a\nX: y", "a blank or a control character"),
        ("s3://b/k\r", "a blank or a control character"),
        ("ssh://node1/img", "not of the form ssh://"),
        ("ssh://-oProxyCommand=id:/a", "not of the form ssh://"),
        ("ssh://a;b:/x", "not of the form ssh://"),
    ],
)
def test_what_cannot_be_imported_says_why(path: str, error: str) -> None:
    with pytest.raises(UsageError, match=error) as caught:
        source.classify(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("SPSNAPSHOT:one-img-1-snap0", NamedSnapshot("one-img-1-snap0")),
        ("/root/SPSNAPSHOT:a@4712", NamedSnapshot("a@4712")),
        ("SPSNAPSHOT:~d.n.s1m", NamedSnapshot("~d.n.s1m")),
        ("/x/VM:1-VMSNAP:2-DISK:0", DiskOfVmSnapshot(1, 2, 0)),
        ("/var/tmp/SPSNAPSHOT:a/image", None),
        ("http://h/SPSNAPSHOT:a", None),
        ("ssh://h:/VM:1-VMSNAP:2-DISK:0", None),
        ("/var/tmp/image", None),
    ],
)
def test_snapshot_that_a_path_names(path: str, meaning: object) -> None:
    assert source.snapshot(path) == meaning


@pytest.mark.parametrize(
    "path",
    [
        "SPSNAPSHOT:",
        "SPSNAPSHOT:a b",
        "SPSNAPSHOT:a\nb",
        "SPSNAPSHOT:*a",
        "SPSNAPSHOT:a#b",
        "SPSNAPSHOT:" + "a" * 200,
        "xSPSNAPSHOT:a",
        "VMSNAP:a",
        "VM:1-VMSNAP:2",
        "VM:1-VMSNAP:2-DISK:0-x",
        "VM:-1-VMSNAP:2-DISK:0",
        "VM:٣-VMSNAP:2-DISK:0",
        "VM:1-VMSNAP:2-DISK:0\n",
        "VM:99999999999-VMSNAP:2-DISK:0",
    ],
)
def test_crafted_snapshot_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="names no snapshot") as caught:
        source.snapshot(path)
    assert "\n" not in str(caught.value)


def test_password_and_query_are_not_shown() -> None:
    assert source.shown("https://me:secret@h:1/a/b?token=secret#x") == "https://h:1/a/b"
    assert source.shown("https://h?secret") == "https://h"
    assert source.shown("/var/tmp/a?b") == "/var/tmp/a?b"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("safe/in", "safer", "else"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "image").write_bytes(b"x")
    (tmp_path / "safe" / "out").symlink_to(tmp_path / "else" / "image")
    (tmp_path / "else" / "to-safe").symlink_to(tmp_path / "safe" / "in" / "image")
    (tmp_path / "link").symlink_to(tmp_path / "safe")
    os.mkfifo(tmp_path / "safe" / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("safe/in/image", True),
        ("else/to-safe", True),
        ("safe/in/../in/image", True),
        ("safer/image", False),
        ("else/image", False),
        ("safe/out", False),
        ("safe/../else/image", False),
    ],
)
def test_only_safe_directories_are_read(tree: Path, path: str, allowed: bool) -> None:
    for safe in ("safe", "link"):
        try:
            os.close(source.open_file(str(tree / path), [str(tree / safe)], ["/"]))
            assert allowed
        except StateError as error:
            assert not allowed and "may not be imported from there" in str(error)


def test_what_no_list_names_may_be_read(tree: Path) -> None:
    os.close(source.open_file(str(tree / "else/image"), [], [str(tree / "safe")]))


@pytest.mark.parametrize(
    ("path", "error"),
    [("safe/pipe", "not a regular file"), ("safe/in", "not a regular file"), ("safe/none", "No such file")],
)
def test_only_files_are_opened_and_nothing_waits(tree: Path, path: str, error: str) -> None:
    with pytest.raises(StateError, match=error):
        source.open_file(str(tree / path), [str(tree)], ["/"])


@pytest.mark.parametrize("exchanged", ["image", "in"])
def test_link_put_in_place_after_the_check_leads_nowhere(
    tree: Path, monkeypatch: pytest.MonkeyPatch, exchanged: str
) -> None:
    """Between the check and the open, an attacker makes the file, or its directory, a link."""
    real_open = os.open
    target = tree / "safe" / "in" if exchanged == "in" else tree / "safe" / "in" / "image"

    def attack_then_open(path: str, flags: int) -> int:
        target.rename(tree / "away")
        target.symlink_to(tree / ("else" if exchanged == "in" else "else/image"))
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", attack_then_open)
    with pytest.raises(StateError):
        source.open_file(str(tree / "safe/in/image"), [str(tree / "safe")], ["/"])


@pytest.mark.parametrize(
    ("mode", "uid", "expected"), [(0o644, 0, False), (0o664, 0, True), (0o644, 12345, True)]
)
def test_file_that_others_can_change(tmp_path: Path, mode: int, uid: int, expected: bool) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"")
    path.chmod(mode)
    if uid:
        if os.geteuid():
            pytest.skip("only root can give a file away")
        os.chown(path, uid, -1)
    fd = os.open(path, os.O_RDONLY)
    assert source.changed_by_others(fd) is expected
    os.close(fd)
