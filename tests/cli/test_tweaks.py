"""storpool-addon tweaks: what is enabled, what it means, and what it would do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storpool_addon.cli import main
from storpool_addon.domain.tweaking import BUILT_IN, MIGRATE
from tests.domain.golden import BASES

BASE = BASES / "linux-pc"
VM, DOMAIN = str(BASE / "vm.xml"), str(BASE / "domain.xml")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A front-end that has a tweak switched on by file, one by list, and one of its own."""
    monkeypatch.setenv("ONE_LOCATION", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = tmp_path / "var/remotes/vmm/kvm/deploy-tweaks.d"
    directory.mkdir(parents=True)
    for name in ("volatile2dev.py", "own.sh"):
        (directory / name).touch(0o755)
    (tmp_path / "var/remotes/addon-storpoolrc").write_text('DEPLOY_TWEAKS="disk-serial"\nT_DISKSERIAL=yes\n')
    return tmp_path


def test_list(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tweaks", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    enabled = {line.split()[0] for line in lines if line.split()[2] == "yes"}
    assert enabled == {"volatile2dev", "disk-serial", "own.sh"}
    assert [line.split()[0] for line in lines if "own.sh" not in line] == [*BUILT_IN, *MIGRATE]


def test_explain(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tweaks", "explain", "cpu.py"]) == 0
    out = capsys.readouterr().out
    assert "T_CPU_MODE  cpu/@mode.\n    default: empty\n    allowed: empty, custom, host-model," in out
    assert "set by: the site's files or the VM" in out
    assert main(["tweaks", "explain", "cdrom"]) == 2
    assert capsys.readouterr().err.startswith("storpool-addon: no tweak is named cdrom; there are: ")


def test_apply(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tweaks", "apply", VM, DOMAIN]) == 0
    out, err = capsys.readouterr()
    assert f"--- {DOMAIN}\n+++ {DOMAIN} (tweaked)\n" in out
    changed = [line[1:].strip() for line in out.splitlines()[2:] if line[0] in "+-"]
    assert '<disk type="block" device="cdrom">' in changed
    assert sum(line.startswith("<serial>") for line in changed) == 4
    own = site / "var/remotes/vmm/kvm/deploy-tweaks.d/own.sh"
    assert err == f"storpool-addon: {own} is the site's own, and is not run here\n"

    assert main(["tweaks", "apply", VM, DOMAIN, "--enable", "context-cache"]) == 0
    assert '+\t\t\t<driver name="qemu" type="raw" cache="none" io="native"/>\n' in capsys.readouterr().out
    assert main(["tweaks", "apply", "--migrate", VM, DOMAIN]) == 0
    assert capsys.readouterr().out == ""


def test_apply_says_what_is_wrong(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    banana = site / "vm.xml"
    banana.write_text(
        Path(VM).read_text().replace("<HYPERVISOR>", "<T_CPU_MODE>banana</T_CPU_MODE><HYPERVISOR>")
    )
    for words, status, line in (
        (
            (str(banana), DOMAIN, "--enable", "cpu"),
            1,
            "tweak cpu: VM 42: T_CPU_MODE is 'banana'; allowed: empty, custom,",
        ),
        ((VM, DOMAIN, "--enable", "x"), 2, "no tweak is named x; there are: "),
        ((VM, VM), 2, f"{VM} holds a VM and no domain"),
        ((DOMAIN, DOMAIN), 2, f"{DOMAIN} holds a domain and no VM"),
        ((VM, "/none"), 2, "/none cannot be read: No such file or directory"),
    ):
        assert main(["tweaks", "apply", *words]) == status
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"storpool-addon: {line}") and err.count("\n") == 1


def test_a_reader_that_has_seen_enough(site: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    program = "import sys; from storpool_addon.cli import main; sys.exit(main(['tweaks', 'list']))"
    done = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
