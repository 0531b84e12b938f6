"""What install.py cannot do is said in one line, and nothing is left half done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from storpool_addon.installer.layout import base_interpreter
from tests.install.front import PROJECT, Front


def refused(front: Front, *arguments: str, python: str = sys.executable) -> str:
    ended = front.run(*arguments, python=python)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    ("directory", "text"),
    [("a blank", "contains a blank"), ("/".join(["long" * 10] * 6), "too long")],
)
def test_root_that_no_first_line_can_hold(front: Front, directory: str, text: str) -> None:
    moved = front._replace(root=front.root / directory)
    assert text in refused(moved)
    assert not front.root.exists()


def test_longest_root_that_works(front: Front) -> None:
    fixed = len(f"#!{front.root}/usr/lib/storpool-addon/bin/python3 -I\n")
    filler = "/" + "/".join("x" * 39 for _ in range(6))
    longest = front._replace(root=Path(f"{front.root}{filler[: 255 - fixed].rstrip('/')}"))
    longest.install()
    assert subprocess.run([longest.clone], capture_output=True, check=False).returncode == 0
    too_long = front._replace(root=Path(f"{front.root}{filler[: 256 - fixed]}x"))
    assert "too long" in refused(too_long)


def bare_python(tmp_path: Path) -> str:
    """The base interpreter seen through an environment of no packages, as on a fresh machine."""
    python = tmp_path / "bare/bin/python3"
    python.parent.mkdir(parents=True)
    base = os.path.realpath(sys.executable)
    python.symlink_to(base)
    (tmp_path / "bare/pyvenv.cfg").write_text(
        f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n"
    )
    return str(python)


def test_missing_modules_are_named_with_their_packages(front: Front, tmp_path: Path) -> None:
    python = bare_python(tmp_path)
    found = subprocess.run(
        [os.path.realpath(sys.executable), "-I", "-c", "import lxml, requests, yaml"],
        capture_output=True,
        check=False,
    )
    if found.returncode == 0:
        pytest.skip("this machine's Python has all modules itself")
    line = refused(front, python=python)
    assert "python3-lxml python3-requests python3-yaml" in line
    assert "--with-dependencies" in line
    assert not front.root.exists()


def wheel(directory: Path, name: str, module: str, version: str) -> None:
    """A wheel of one empty package."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{module}/__init__.py", "")
        made.writestr(f"{module}/etree.py", "")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")


@pytest.mark.skipif(
    subprocess.run(
        [base_interpreter(), "-m", "pip", "--version"], capture_output=True, check=False
    ).returncode
    != 0,
    reason="no pip for the base interpreter",
)
def test_pip_puts_modules_beside_the_driver(front: Front, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    ended = front.run("--with-dependencies", **offline)
    assert (ended.returncode, "pip could not install the needed modules" in ended.stderr) == (1, True)
    for name, module, version in (
        ("lxml", "lxml", "9.0"),
        ("requests", "requests", "9.0"),
        ("PyYAML", "yaml", "9.0"),
        ("prometheus_client", "prometheus_client", "9.0"),
    ):
        wheel(wheels, name, module, version)
    ended = front.run("--with-dependencies", **offline)
    assert ended.returncode == 0, ended.stderr
    argv = [front.home / "bin/python3", "-I", "-c", "import sys; print(*sys.path)"]
    path = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert f"{front.home}/dependencies" in path
    (pth,) = front.home.glob("lib/python*/site-packages/dependencies.pth")
    assert pth.read_text() == f"{front.home}/dependencies\n"
    assert "nothing to do" in front.install()
    front.install("--uninstall")
    assert not front.home.exists()


def test_directory_in_the_way(front: Front) -> None:
    front.clone.mkdir(parents=True)
    assert f"{front.clone} is a directory where a file is to be" in refused(front)


def test_damaged_record(front: Front) -> None:
    front.install()
    (front.home / "manifest.json").write_text('{"files": ')
    assert "manifest.json is damaged; move it away" in refused(front)


def test_unknown_owner(front: Front) -> None:
    assert "--owner nobody-at-all: there is no such user or group" in refused(
        front, "--owner", "nobody-at-all"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_root_without_the_right_to_write(front: Front) -> None:
    front.root.mkdir(mode=0o555)
    assert "Permission denied" in refused(front)


def old_pythons() -> list[str]:
    names = [
        "python3.6",
        "python3.7",
        "python3.8",
        *map(str, Path.home().glob(".pyenv/versions/3.[678].*/bin/python3")),
    ]
    return [found for name in names if (found := shutil.which(name)) and runs(found)]


def runs(python: str) -> bool:
    return subprocess.run([python, "-c", "pass"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not old_pythons(), reason="no Python older than 3.9 here")
def test_old_python_is_told_so() -> None:
    for python in old_pythons():
        ended = subprocess.run([python, PROJECT / "install.py"], capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert ended.stderr.startswith("install.py needs Python 3.9 or newer and runs under 3.")
        assert len(ended.stderr.splitlines()) == 1


def other_pythons() -> list[str]:
    names = ["python3.9", "python3.13", *map(str, Path.home().glob(".pyenv/versions/3.[19]*/bin/python3"))]
    here = os.path.realpath(sys.executable)
    return [
        path
        for name in names
        if (path := shutil.which(name)) and os.path.realpath(path) != here and runs(path)
    ]


@pytest.mark.skipif(not other_pythons(), reason="no other Python here")
def test_other_pythons_up_to_their_modules(front: Front) -> None:
    """Each either installs or names what it lacks; both need all of the installer's syntax."""
    for python in other_pythons():
        if subprocess.run(
            [python, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"], check=False
        ).returncode:
            continue
        ended = front.run(python=python)
        assert ended.returncode == 0 or "is not installed for" in ended.stderr, ended.stderr
