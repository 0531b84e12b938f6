"""An installation killed before any of its steps is completed by the next run, and can be taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.installer.installation import Installation
from storpool_addon.installer.layout import layout
from storpool_addon.installer.release import default_config, release
from storpool_addon.installer.tree import Tree
from tests.install.front import Front, snapshot

STEPS = ("rename", "unlink", "mkdir", "rmdir", "symlink")


def install(front: Front) -> None:
    where = layout(str(front.root), "/usr", {})
    new = release(str(front.checkout), where, "/usr/bin/python3", [])
    Installation(Tree("", None), where, lambda line: None).install(new, default_config(str(front.checkout)))


def uninstall(front: Front) -> None:
    Installation(Tree("", None), layout(str(front.root), "/usr", {}), lambda line: None).uninstall()


def killed_at(step: int, action: Callable[[Front], None], front: Front) -> bool:
    """Run the action in a child that is killed before its n-th change of files; False: it ended first."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _die_at(step)
            action(front)
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def _die_at(step: int) -> None:
    left = [step]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*args, **kwargs)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def nothing(front: Front) -> None:
    """A fresh machine."""


def another_addon(front: Front) -> None:
    """Scripts of another addon are there."""
    front.clone.parent.mkdir(parents=True)
    front.clone.write_text("#!/bin/bash\n# another addon's\n")


def older_version(front: Front) -> None:
    """An older version is there, over another addon, with a change of the site's."""
    another_addon(front)
    install(front)
    front.next_version()
    (front.remotes / "tm/storpool/ln").write_text("# the site's\n")


def keep(front: Front, tmp_path: Path) -> Path:
    """A copy of the checkout, with a package of few files: each of them is a few kills."""
    kept = tmp_path / "kept"
    shutil.copytree(front.checkout, kept, symlinks=True)
    shutil.rmtree(kept / "storpool_addon/installer")
    return kept


def start(front: Front, prepare: Callable[[Front], None], kept: Path) -> None:
    """A checkout and a root as they were before, whatever a run did to them."""
    for directory in (front.checkout, front.root):
        shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(kept, front.checkout, symlinks=True)
    prepare(front)


@pytest.mark.parametrize("prepare", [nothing, another_addon, older_version])
def test_killed_installation_is_completed_and_undone(
    front: Front, tmp_path: Path, prepare: Callable[[Front], None]
) -> None:
    kept = keep(front, tmp_path)
    start(front, prepare, kept)
    install(front)
    installed = snapshot(front.root)
    uninstall(front)
    gone = {path: what for path, what in snapshot(front.root).items() if path not in ("usr", "usr/lib")}
    step = 0
    while True:
        start(front, prepare, kept)
        if not killed_at(step, install, front):
            break
        install(front)
        assert snapshot(front.root) == installed, step
        uninstall(front)
        after = {path: what for path, what in snapshot(front.root).items() if path not in ("usr", "usr/lib")}
        assert after == gone, step
        step += 1
    assert step > 20


def test_killed_uninstall_is_completed(front: Front, tmp_path: Path) -> None:
    kept = keep(front, tmp_path)
    start(front, another_addon, kept)
    before = snapshot(front.root)
    step = 0
    while True:
        start(front, another_addon, kept)
        install(front)
        if not killed_at(step, uninstall, front):
            break
        uninstall(front)
        after = {p: what for p, what in snapshot(front.root).items() if not p.startswith("usr/lib")}
        after.pop("usr", None)
        assert after == before, step
        step += 1
    assert step > 20
