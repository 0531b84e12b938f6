"""A front-end to install on, and a small checkout, so that each run of install.py is real and quick."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = (
    "#!/usr/bin/env python3\nimport sys, storpool_addon.errors\nprint(storpool_addon.__file__, sys.argv)\n"
)
PROBE = "#!/usr/bin/env python3\nprint('a host has no driver')\n"


class Front(NamedTuple):
    """A front-end below `root`, installed from `checkout`."""

    checkout: Path
    root: Path

    @property
    def remotes(self) -> Path:
        return self.root / "var/lib/one/remotes"

    @property
    def home(self) -> Path:
        return self.root / "usr/lib/storpool-addon"

    @property
    def clone(self) -> Path:
        return self.remotes / "tm/storpool/clone"

    def run(
        self, *arguments: str, python: str = sys.executable, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run install.py for this root."""
        argv = [python, str(self.checkout / "install.py"), "--root", str(self.root), *arguments]
        bare = {key: value for key, value in os.environ.items() if key != "ONE_LOCATION"}
        return subprocess.run(
            argv,
            env={**bare, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, *arguments: str) -> str:
        """Run install.py, which is to succeed, and give what it printed."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        return ended.stdout

    def release(self) -> str:
        """Name of the release that the scripts run."""
        (pth,) = self.home.glob("lib/python*/site-packages/storpool_addon.pth")
        return Path(pth.read_text().strip()).name

    def next_version(self) -> None:
        """Let the checkout hold something newer: other code, other scripts, another default."""
        with (self.checkout / "storpool_addon/errors.py").open("a") as opened:
            opened.write("NEWER = True\n")
        tm = self.checkout / "remotes/tm/storpool"
        (tm / "ln").rename(tm / "resize")
        (tm / "clone").write_text(SCRIPT + "# newer\n")
        (self.checkout / "remotes/addon-storpoolrc").write_text("ONE_PX=one\nNEW_KEY=1\n")


def make_checkout(where: Path) -> None:
    """The installer itself, a package of little else, and remotes of each kind."""
    package = where / "storpool_addon"
    shutil.copytree(
        PROJECT / "storpool_addon/installer", package / "installer", ignore=shutil.ignore_patterns("*.pyc")
    )
    for name in ("storpool_addon/__init__.py", "storpool_addon/errors.py", "install.py"):
        shutil.copy(PROJECT / name, where / name)
    (package / "cli").mkdir()
    (package / "cli/__init__.py").write_text("def main() -> int:\n    print('the tools')\n    return 0\n")
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__/errors.cpython-00.pyc").write_bytes(b"not to be installed")
    for path, text, mode in (
        ("remotes/tm/storpool/clone", SCRIPT, 0o755),
        ("remotes/tm/storpool/ln", SCRIPT, 0o755),
        ("remotes/im/kvm-probes.d/probe", PROBE, 0o755),
        ("remotes/addon-storpoolrc", "ONE_PX=one\n", 0o644),
    ):
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text)
        (where / path).chmod(mode)
    (where / "remotes/tm/storpool/clone.ssh").symlink_to("clone")


def snapshot(root: Path, *, times: bool = False) -> dict[str, tuple[int, bytes, int]]:
    """Mode, content and, when asked for, time of everything below a root, byte code left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        if "__pycache__" in path.parts or path.name == "manifest.json":
            continue
        status = path.lstat()
        data = (
            os.fsencode(os.readlink(path))
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else b""
        )
        found[str(path.relative_to(root))] = (status.st_mode, data, status.st_mtime_ns if times else 0)
    return found
