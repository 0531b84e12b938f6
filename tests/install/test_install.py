"""install.py, run as it is: fresh, again, over a site's own files, and away again."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from storpool_addon.installer.layout import layout
from storpool_addon.installer.units import units
from tests.install.front import PROJECT, Front, snapshot


def output(*argv: object) -> str:
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=True, cwd="/").stdout


def test_fresh_install_runs_in_place(front: Front) -> None:
    said = front.install()
    assert f"add     {front.clone}" in said
    package = front.home / "releases" / front.release() / "storpool_addon"
    assert output(front.clone, "a", "b") == f"{package}/__init__.py ['{front.clone}', 'a', 'b']\n"
    assert output(front.root / "usr/bin/storpool-addon") == "the tools\n"


def test_script_ignores_the_callers_python_settings(front: Front, tmp_path: Path) -> None:
    front.install()
    (tmp_path / "storpool_addon.py").write_text("raise SystemExit('the wrong one')")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"}
    ended = subprocess.run([front.clone], env=environ, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == 0


def test_modes_and_first_lines(front: Front) -> None:
    front.install()
    modes = {path: mode for path, (mode, _, _) in snapshot(front.root).items() if not stat.S_ISLNK(mode)}
    assert {m & 0o777 for m in modes.values()} == {0o755, 0o644}
    assert modes["var/lib/one/remotes/tm/storpool/clone"] & 0o777 == 0o755
    assert modes["var/lib/one/remotes/addon-storpoolrc"] & 0o777 == 0o644
    assert front.clone.read_text().splitlines()[0] == f"#!{front.home}/bin/python3 -I"
    assert os.readlink(front.remotes / "tm/storpool/clone.ssh") == "clone"


def test_script_for_hosts_keeps_its_interpreter(front: Front) -> None:
    front.install()
    probe = front.remotes / "im/kvm-probes.d/probe"
    assert probe.read_text().startswith("#!/usr/bin/env python3\n")


def test_modules_are_compiled(front: Front) -> None:
    front.install()
    package = front.home / "releases" / front.release() / "storpool_addon"
    sources = {path.stem for path in package.glob("*.py")}
    assert {path.name.split(".")[0] for path in package.glob("__pycache__/*.pyc")} == sources
    assert (
        b"not to be installed"
        not in (package / "__pycache__").joinpath(f"errors.{sys.implementation.cache_tag}.pyc").read_bytes()
    )
    assert not (front.checkout / "storpool_addon/installer/__pycache__").exists(), (
        "the checkout stays as it is"
    )


def test_second_run_does_nothing(front: Front) -> None:
    front.install()
    before = snapshot(front.root, times=True)
    assert "nothing to do\n" in front.install()
    assert snapshot(front.root, times=True) == before


@pytest.mark.parametrize("damage", ["content", "mode", "missing", "byte code", "link"])
def test_run_mends_what_was_damaged(front: Front, damage: str) -> None:
    front.install()
    before = snapshot(front.root)
    module = front.home / "releases" / front.release() / "storpool_addon/errors.py"
    if damage == "content":
        module.write_text("raise SystemExit(1)")
    elif damage == "mode":
        front.clone.chmod(0o666)
    elif damage == "missing":
        front.clone.unlink()
    elif damage == "byte code":
        next(module.parent.glob("__pycache__/errors.*")).unlink()
    else:
        (front.remotes / "tm/storpool/clone.ssh").unlink()
        (front.remotes / "tm/storpool/clone.ssh").symlink_to("ln")
    assert front.run("--check").returncode == 1
    front.install()
    after = {path: what for path, what in snapshot(front.root).items() if "site-changes" not in path}
    assert after == before
    assert front.run("--check").returncode == 0
    assert list(module.parent.glob("__pycache__/errors.*"))


def test_dry_run_shows_and_touches_nothing(front: Front) -> None:
    said = front.install("--dry-run")
    assert f"add     {front.clone}" in said
    assert "changes to be made" in said
    assert not front.root.exists()
    front.install()
    before = snapshot(front.root, times=True)
    front.next_version()
    said = front.install("--dry-run")
    assert "+# newer" in said
    assert f"remove  {front.remotes}/tm/storpool/ln" in said
    assert snapshot(front.root, times=True) == before


def test_check_tells_by_its_exit_code(front: Front) -> None:
    assert front.run("--check").returncode == 1
    front.install()
    ended = front.run("--check")
    assert (ended.returncode, "nothing to do" in ended.stdout) == (0, True)
    front.next_version()
    assert front.run("--check").returncode == 1


def test_upgrade_keeps_the_release_that_processes_began_in(front: Front) -> None:
    front.install()
    first = front.release()
    front.next_version()
    front.install()
    second = front.release()
    assert first != second
    assert f"/{second}/" in output(front.clone)
    assert not (front.remotes / "tm/storpool/ln").exists()
    assert (front.remotes / "tm/storpool/resize").exists()
    assert sorted(path.name for path in (front.home / "releases").iterdir()) == sorted([first, second])
    with (front.checkout / "storpool_addon/errors.py").open("a") as opened:
        opened.write("NEWEST = True\n")
    front.install()
    assert sorted(path.name for path in (front.home / "releases").iterdir()) == sorted(
        [second, front.release()]
    )
    assert "nothing to do" in front.install()


def test_sites_configuration_is_kept(front: Front) -> None:
    front.install()
    config = front.remotes / "addon-storpoolrc"
    config.write_text("ONE_PX=mine\n")
    config.chmod(0o640)
    said = front.install()
    assert f"keep    {config} (changed by the site" in said
    assert (config.read_text(), config.stat().st_mode & 0o777) == ("ONE_PX=mine\n", 0o640)
    assert config.with_name("addon-storpoolrc.dist").read_text() == "ONE_PX=one\n"
    front.next_version()
    front.install()
    assert config.read_text() == "ONE_PX=mine\n"
    assert "NEW_KEY" in config.with_name("addon-storpoolrc.dist").read_text()
    assert "nothing to do" in front.install()


def test_untouched_configuration_follows_the_default(front: Front) -> None:
    front.install()
    front.next_version()
    front.install()
    assert "NEW_KEY" in (front.remotes / "addon-storpoolrc").read_text()
    assert not (front.remotes / "addon-storpoolrc.dist").exists()


def test_configuration_of_another_addon_is_kept(front: Front) -> None:
    front.remotes.mkdir(parents=True)
    (front.remotes / "addon-storpoolrc").write_text("SP_SYSTEM=ssh\n")
    front.install()
    assert (front.remotes / "addon-storpoolrc").read_text() == "SP_SYSTEM=ssh\n"
    front.install("--uninstall")
    assert (front.remotes / "addon-storpoolrc").read_text() == "SP_SYSTEM=ssh\n"


def test_uninstall_leaves_nothing(front: Front) -> None:
    front.install()
    front.next_version()
    front.install()
    said = front.install("--uninstall")
    assert f"remove  {front.clone}" in said
    assert snapshot(front.root) == {}
    assert front.install("--uninstall") == "nothing to do\n"


def test_uninstall_keeps_what_the_site_changed(front: Front) -> None:
    front.install()
    front.clone.write_text("#!/bin/sh\n# the site's\n")
    assert f"keep    {front.clone} (changed by the site)" in front.install("--uninstall", "--dry-run")
    assert f"keep    {front.clone} (changed by the site)" in front.install("--uninstall")
    files = [path for path, (mode, _, _) in snapshot(front.root).items() if not stat.S_ISDIR(mode)]
    assert files == ["var/lib/one/remotes/tm/storpool/clone"]


def test_replaced_files_come_back(front: Front) -> None:
    front.clone.parent.mkdir(parents=True)
    front.clone.write_text("#!/bin/bash\n# another addon's\n")
    front.clone.chmod(0o750)
    (front.clone.parent / "functions").write_text("# another addon's, too\n")
    before = snapshot(front.root)
    said = front.install()
    assert f"change  {front.clone}" in said
    assert "note: not of this driver, left as they are: tm/storpool/functions" in said
    front.next_version()
    front.install()
    assert f"restore {front.clone}" in front.install("--uninstall")
    assert snapshot(front.root) == before


def test_sites_change_of_a_script_is_copied_before_it_is_replaced(front: Front) -> None:
    front.install()
    front.clone.write_text("#!/bin/sh\n# the site's\n")
    assert "copied  the site's changes" in front.install()
    copy = Path(f"{front.home}/site-changes{front.clone}")
    assert copy.read_text() == "#!/bin/sh\n# the site's\n"
    assert "storpool_addon" in front.clone.read_text()
    front.install("--uninstall")
    assert copy.exists()


def test_stage_writes_paths_as_without_it(front: Front, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    argv = [sys.executable, front.checkout / "install.py", "--stage", stage, "--prefix", "/opt/addon"]
    environ = {key: value for key, value in os.environ.items() if key != "ONE_LOCATION"}
    subprocess.run(argv, env=environ, check=True, capture_output=True)
    script = stage / "var/lib/one/remotes/tm/storpool/clone"
    assert script.read_text().startswith("#!/opt/addon/lib/storpool-addon/bin/python3 -I\n")
    assert (
        os.readlink(stage / "opt/addon/bin/storpool-addon")
        == "/opt/addon/lib/storpool-addon/bin/storpool-addon"
    )
    assert not any(str(stage).encode() in data for _, data, _ in snapshot(stage).values())


def test_self_contained_opennebula(front: Front) -> None:
    ended = front.run(ONE_LOCATION="/opt/one")
    assert ended.returncode == 0
    assert "storpool_addon" in (front.root / "opt/one/var/remotes/tm/storpool/clone").read_text()
    assert not front.remotes.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_scripts_belong_to_oneds_user(front: Front) -> None:
    user = pwd.getpwnam("nobody")
    front.install("--owner", "nobody")
    for path in (front.clone, front.clone.parent, front.remotes / "addon-storpoolrc"):
        assert (path.stat().st_uid, path.stat().st_gid) == (user.pw_uid, user.pw_gid)
    assert (front.home / "pyvenv.cfg").stat().st_uid == 0, "oned's user cannot change what root may run"
    os.chown(front.clone, 0, 0)
    assert f"owner   {front.clone}" in front.install("--owner", "nobody")
    assert front.clone.stat().st_uid == user.pw_uid


def test_the_project_itself_installs(tmp_path: Path) -> None:
    front = Front(PROJECT, tmp_path)
    front.install()
    for script in (PROJECT / "remotes").rglob("*"):
        if script.is_file() and os.access(script, os.X_OK):
            installed = front.remotes / script.relative_to(PROJECT / "remotes")
            assert os.access(installed, os.X_OK), script
    package = front.home / "releases" / front.release() / "storpool_addon"
    assert (
        output(front.home / "bin/python3", "-I", "-c", "import storpool_addon as s; print(s.__path__[0])")
        == f"{package}\n"
    )
    assert "nothing to do" in front.install()
    front.install("--uninstall")
    assert snapshot(tmp_path) == {}


def test_no_pth_file_of_the_system_runs(front: Front) -> None:
    """setuptools puts one beside itself, vendors put others: each script would pay for what they import."""
    front.install()
    seen = "print(any(each in sys.modules for each in ('_distutils_hack', 'certifi')))"
    code = f"import sys; {seen}; import lxml, requests, yaml"
    argv = [front.home / "bin/python3", "-I", "-c", code]
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == "False\n"


def test_files_that_switch_something_on_are_the_sites(front: Front) -> None:
    """The first installation puts them there; what a site adds, changes or removes stays so."""
    switches = front.remotes / "vmm/kvm/deploy-tweaks.d"
    source = front.checkout / "remotes/vmm/kvm/deploy-tweaks.d"
    source.mkdir(parents=True)
    for name in ("one.py", "two.py", "three.py"):
        (source / name).write_text("# ours\n")
        (source / name).chmod(0o755)
    front.install()
    (switches / "one.py").unlink()
    (switches / "two.py").chmod(0o644)
    (switches / "own").write_text("#!/bin/sh\n")
    before = snapshot(switches)
    assert "nothing to do" in front.install() and snapshot(switches) == before
    (source / "three.py").write_text("# newer\n")
    front.next_version()
    front.install()
    assert snapshot(switches) == before
    front.install("--uninstall")
    assert [path.name for path in switches.iterdir()] == ["own"]
    # Of another addon: what it has switched on, and nothing else.
    front.install()
    assert [path.name for path in switches.iterdir()] == ["own"]


@pytest.mark.parametrize("work", ["collect", "policies"])
def test_a_timer_runs_what_is_installed(work: str) -> None:
    """Its service, of an OpenNebula in its own directory too; nothing is switched on."""
    for environ, own in (({}, ""), ({"ONE_LOCATION": "/srv/one"}, "Environment=ONE_LOCATION=/srv/one\n")):
        found = {entry.path: entry.data.decode() for entry in units(layout("", "/usr/local", environ))}
        service, timer = (
            found[f"/usr/local/lib/systemd/system/storpool-addon-{work}.{kind}"]
            for kind in ("service", "timer")
        )
        assert f"{own}ExecStart=/usr/local/lib/storpool-addon/bin/storpool-addon {work} " in service
        assert ("ONE_LOCATION" in service) == bool(own) and "WantedBy=timers.target" in timer
        exporter = found["/usr/local/lib/systemd/system/storpool-addon-exporter.service"]
        assert f"{own}ExecStart=/usr/local/lib/storpool-addon/bin/storpool-addon exporter\n" in exporter
