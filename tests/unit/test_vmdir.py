"""The scripts that run on hosts: links, content and directories, and what they refuse to touch."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from storpool_addon.errors import HostError, UsageError
from storpool_addon.hosts import transfer, vmdir
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Hosts, Shell


@pytest.fixture
def here() -> Shell:
    return Hosts(Processes(), "front-end").here


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a VM has its directory; devices are files beside it."""
    (tmp_path / "dev").mkdir()
    for name in ("a", "b"):
        (tmp_path / "dev" / name).write_bytes(b"device\n" * 10)
    monkeypatch.setattr(vmdir, "DEVICES", str(tmp_path / "dev"))
    return tmp_path / "datastores" / "100" / "42"


def test_links_are_made_with_their_directory_and_may_be_made_again(here: Shell, home: Path) -> None:
    for _ in range(2):
        vmdir.link(here, [(f"{home}/disk.0", "a"), (f"{home}/disk.1", "b")])
    assert (home / "disk.0").readlink() == home.parents[2] / "dev" / "a"
    assert (home / "disk.1").readlink() == home.parents[2] / "dev" / "b"


def test_a_link_to_another_device_is_replaced(here: Shell, home: Path) -> None:
    vmdir.link(here, [(f"{home}/disk.0", "a")])
    vmdir.link(here, [(f"{home}/disk.0", "b")])
    assert (home / "disk.0").readlink().name == "b"


def test_a_file_in_the_place_of_a_link_stays(here: Shell, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "disk.0").write_text("a disk of another driver\n")
    with pytest.raises(HostError, match=r"disk\.0 is a file, not a link to a StorPool device"):
        vmdir.link(here, [(f"{home}/disk.0", "a")])
    assert (home / "disk.0").read_text() == "a disk of another driver\n"


def test_a_device_that_is_late_is_waited_for(here: Shell, home: Path) -> None:
    late = threading.Timer(0.5, (home.parents[2] / "dev" / "late").touch)
    late.start()
    vmdir.link(here, [(f"{home}/disk.0", "late")])
    late.join()
    assert (home / "disk.0").is_symlink()


def test_content_is_written_over_what_was_there(here: Shell, home: Path) -> None:
    device = home.parents[2] / "dev" / "a"
    for _ in range(2):
        write(here, home, b"content\0" * 100_000)
    assert device.read_bytes() == b"content\0" * 100_000
    assert (home / "disk.0").is_symlink()


def write(here: Shell, home: Path, content: bytes) -> None:
    """Write content to device a, from a file as the front-end has it."""
    source = home.parents[2] / "content"
    source.write_bytes(content)
    with open(source, "rb") as file:
        vmdir.write(here, f"{home}/disk.0", "a", file)


def test_content_replaces_the_image_of_an_earlier_driver(here: Shell, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "disk.0").write_text("an ISO\n")
    write(here, home, b"x")
    assert (home / "disk.0").is_symlink()


def test_a_command_gets_the_device_as_its_last_argument(here: Shell, home: Path) -> None:
    vmdir.make(here, f"{home}/disk.0", "a", ["cp", "/etc/hostname"])
    assert (home / "disk.0").read_bytes() == Path("/etc/hostname").read_bytes()


def test_a_command_that_fails_leaves_no_link(here: Shell, home: Path) -> None:
    with pytest.raises(HostError, match="false on volume a"):
        vmdir.make(here, f"{home}/disk.0", "a", ["false"])
    assert not (home / "disk.0").exists()


def test_only_links_are_removed(here: Shell, home: Path) -> None:
    vmdir.link(here, [(f"{home}/disk.0", "a")])
    (home / "disk.0.monitor").write_text("storpool\n")
    (home / "disk.1").write_text("a file\n")
    for _ in range(2):
        vmdir.unlink(here, [f"{home}/disk.0", f"{home}/disk.1"])
    assert [each.name for each in home.iterdir()] == ["disk.1"]
    assert (home.parents[2] / "dev" / "a").exists()


def test_a_directory_goes_and_what_its_links_lead_to_stays(here: Shell, home: Path) -> None:
    vmdir.link(here, [(f"{home}/disk.0", "a")])
    (home / "sub").mkdir()
    (home / "sub" / "file").touch()
    os.symlink(home.parents[2] / "dev", home / "outside")
    for _ in range(2):
        vmdir.remove(here, str(home))
    assert not home.exists() and (home.parents[2] / "dev" / "a").exists()


def test_a_directory_moves_with_links_modes_and_holes(here: Shell, home: Path) -> None:
    target = home.parent.parent / "110" / "42"
    vmdir.link(here, [(f"{home}/disk.0", "a")])
    (home / "checkpoint").write_bytes(b"x")
    os.truncate(home / "checkpoint", 8 << 20)
    (home / "checkpoint").chmod(0o600)
    for _ in range(2):
        transfer.move_within(here, str(home), str(target))
    found = (target / "checkpoint").stat()
    assert (found.st_size, found.st_mode & 0o777, found.st_blocks < 100) == (8 << 20, 0o600, True)
    assert (target / "disk.0").is_symlink() and not home.exists()


def test_a_directory_is_made_once(here: Shell, home: Path) -> None:
    for _ in range(2):
        vmdir.make_directory(here, str(home))
    assert home.is_dir()


HOSTILE = ["x y", "$(touch pwned)", "`id`", "it's", "-rf", "*"]


@pytest.mark.parametrize("word", HOSTILE)
def test_names_are_data(here: Shell, home: Path, word: str) -> None:
    place = home / word
    vmdir.link(here, [(f"{place}/disk.0", "a")])
    assert (place / "disk.0").is_symlink()
    vmdir.unlink(here, [f"{place}/disk.0"])
    assert not list(place.iterdir())


OUTSIDE = [
    "/", "", ".", "/etc", "/var/lib/one", "/var/lib/one/datastores/100", "/var/lib/one/datastores/100/",
    "/var/lib/one/datastores/100/42/..", "/var/lib/one/datastores/../100/42", "datastores/100/42", "/100/42x",
    "/100/42\n", "/a/100/42/disk.0", "/100/٤٢",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_but_the_directory_of_a_vm(here: Shell, path: str) -> None:
    for call in (
        lambda: vmdir.remove(here, path),
        lambda: transfer.move_within(here, path, "/var/lib/one/datastores/100/42"),
        lambda: transfer.move_within(here, "/var/lib/one/datastores/100/42", path),
        lambda: transfer.copy_to(here, path, "node1", "/var/lib/one/datastores/100/42"),
        lambda: transfer.copy_to(here, "/var/lib/one/datastores/100/42", "node1", path),
        lambda: transfer.remove_copy(here, path, "node1"),
        lambda: vmdir.make_directory(here, path),
        lambda: vmdir.check(path, 42),
    ):
        with pytest.raises(UsageError, match="is not the directory of a VM"):
            call()


def test_another_vms_directory_is_not_this_ones() -> None:
    vmdir.check("/var/lib/one/datastores/100/42", 42)
    for path in ("/var/lib/one/datastores/100/421", "/var/lib/one/datastores/42/100", "/1/042"):
        with pytest.raises(UsageError, match="is not the directory of VM 42"):
            vmdir.check(path, 42)
