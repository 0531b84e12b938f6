"""A VM's directory on its way: whole or not under its name, and never copied over itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from storpool_addon.errors import HostError
from storpool_addon.hosts import transfer, vmdir
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import UNREACHABLE, Hosts, Shell

# Every host is this one. A file `cut` beside it cuts off what goes there after some bytes.
SSH = r"""#!/bin/bash
while [ "$1" != -- ]; do shift; done
if [ -e "${0%/*}/cut" ]; then head -c 700000 | bash -c "$3"; else bash -c "$3"; fi
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(vmdir, "DEVICES", str(tmp_path / "dev"))
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Hosts(Processes(), "front-end").here


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A VM's directory with all that there may be in one."""
    home = tmp_path / "100" / "42"
    (home / "tpm" / "inner").mkdir(parents=True)
    (home / "tpm" / "inner" / ".state").write_bytes(b"secret")
    (home / "deployment.0").write_text("<domain/>\n")
    (home / "a name with 'quotes', $(blanks)\nand a line").write_text("x")
    (home / "checkpoint").write_bytes(b"memory" * 200_000)
    os.truncate(home / "checkpoint", 32 << 20)
    (home / "disk.0").symlink_to(tmp_path / "dev" / "volume")
    return home


def contents(directory: Path) -> dict[str, bytes | str]:
    """All files and links in a directory; a socket is nobody's file."""
    found = {str(each.relative_to(directory)): each for each in directory.rglob("*")}
    return {
        name: os.readlink(each) if each.is_symlink() else each.read_bytes()
        for name, each in found.items()
        if each.is_symlink() or each.is_file()
    }


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "110" / "42"


def test_all_of_it_arrives(here: Shell, home: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(home)
    monkeypatch.chdir(home)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("monitor.sock")
        for _ in range(2):
            assert transfer.copy_to(here, str(home), "node2", str(target))
    assert contents(target) == before == contents(home)
    found = (target / "checkpoint").stat()
    assert found.st_blocks * 512 < found.st_size // 2


def test_a_copy_that_was_cut_off_is_under_no_name(
    here: Shell, home: Path, target: Path, tmp_path: Path
) -> None:
    target.mkdir(parents=True)
    (target / "checkpoint").write_text("of an earlier time")
    (tmp_path / "cut").touch()
    with pytest.raises(HostError, match="copying"):
        transfer.copy_to(here, str(home), "node2", str(target))
    whole = {name: text for name, text in contents(target).items() if not name.startswith(".incoming/")}
    assert whole == {"checkpoint": b"of an earlier time"}
    (tmp_path / "cut").unlink()
    transfer.copy_to(here, str(home), "node2", str(target))
    assert contents(target) == contents(home)


def test_what_was_there_and_does_not_come_stays(here: Shell, home: Path, target: Path) -> None:
    """A source that was removed in part by somebody must not take the rest along."""
    transfer.copy_to(here, str(home), "node2", str(target))
    whole = contents(target)
    (home / "checkpoint").unlink()
    (home / "deployment.0").write_text("<domain>new</domain>\n")
    transfer.copy_to(here, str(home), "node2", str(target))
    assert contents(target) == {**whole, "deployment.0": b"<domain>new</domain>\n"}


@pytest.mark.parametrize("across", [False, True], ids=["copied", "within a host"])
def test_a_link_that_a_disks_move_made_stays(
    here: Shell, home: Path, target: Path, tmp_path: Path, across: bool
) -> None:
    target.mkdir(parents=True)
    (target / "disk.0").symlink_to(tmp_path / "dev" / "better")
    (target / "disk.1").write_text("a file")
    (home / "disk.1").symlink_to(tmp_path / "dev" / "other")
    if across:
        transfer.move_within(here, str(home), str(target))
    else:
        transfer.copy_to(here, str(home), "node2", str(target))
    links = {each.name: each.readlink().name for each in target.iterdir() if each.is_symlink()}
    assert links == {"disk.0": "better", "disk.1": "other"}
    assert home.exists() != across


def test_one_directory_on_two_hosts_is_left_as_it_is(here: Shell, home: Path) -> None:
    before = contents(home)
    assert not transfer.copy_to(here, str(home), "node2", str(home))
    assert not transfer.remove_copy(here, str(home), "node2")
    assert contents(home) == before


def test_one_of_two_copies_goes(here: Shell, home: Path, tmp_path: Path) -> None:
    """Another host that does not see the mark has a directory of its own."""
    (tmp_path / "ssh").write_text("#!/bin/sh\necho no\n")
    for _ in range(2):
        assert transfer.remove_copy(here, str(home), "node2")
    assert not home.exists()


def test_a_copy_stays_while_nobody_knows(here: Shell, home: Path, tmp_path: Path) -> None:
    """And the line is about the host that does not answer."""
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    before = contents(home)
    with pytest.raises(HostError, match="host node2 cannot be asked from here") as caught:
        transfer.remove_copy(here, str(home), "node2")
    assert contents(home) == before
    assert caught.value.exit_code_there != UNREACHABLE


def test_what_a_killed_removal_left_goes_with_the_next(here: Shell, home: Path) -> None:
    left = home.with_name("42.gone")
    left.mkdir()
    (left / "deployment.0").touch()
    vmdir.remove(here, str(home))
    assert list(home.parent.iterdir()) == []
    target = home.parents[1] / "110" / "42"
    for again in (
        lambda: vmdir.remove(here, str(home)),
        lambda: transfer.move_within(here, str(home), str(target)),
        lambda: transfer.remove_copy(here, str(home), "node2"),
    ):
        left.mkdir()
        again()
        assert list(home.parent.iterdir()) == []


@pytest.mark.parametrize("within", [False, True], ids=["copied", "to another file system"])
def test_what_came_is_on_the_disk_before_the_source_goes(
    here: Shell, home: Path, target: Path, tmp_path: Path, within: bool
) -> None:
    """Before its names too: a power cut at the target would leave the memory of a guest nowhere."""
    before, log = contents(home), tmp_path / "log"
    program(tmp_path / "stat", '[ "$1 $2" != "-c %d" ] || exec echo "$3"\nexec /usr/bin/stat "$@"\n')

    def bring() -> None:
        if within:
            transfer.move_within(here, str(home), str(target))
        else:
            transfer.copy_to(here, str(home), "node2", str(target))

    program(tmp_path / "sync", "exit 1\n")
    with pytest.raises(HostError):
        bring()
    assert contents(home) == before and not (target / "checkpoint").exists()
    program(tmp_path / "sync", f'[ ! -e {home} ] || echo "$2" $(wc -c <"$2/checkpoint") >>{log}\n')
    bring()
    assert log.read_text().splitlines() == [f"{target}/.incoming {32 << 20}", f"{target} {32 << 20}"]


def program(path: Path, body: str) -> None:
    path.write_text("#!/bin/bash\n" + body)
    path.chmod(0o755)
