"""Hosts played by files: each has its own, and ssh leads from one to the other."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.fast import FastHosts
from storpool_addon.lab.hosts import NoHosts


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[FastHosts]:
    try:
        with FastHosts(str(tmp_path), ["node1", "node2"], str(tmp_path / "dev"), "\0nobody") as made:
            yield made
    except NoHosts as reason:
        pytest.skip(str(reason))


def on_frontend(hosts: FastHosts, script: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = hosts.action_argv(["bash", "-c", script], {"HOME": "/var/lib/one"}, "/var/lib/one")
    return subprocess.run(argv, input=data, capture_output=True, timeout=20, check=False)


def test_a_file_is_on_its_host_alone(hosts: FastHosts) -> None:
    node1, node2 = hosts.nodes["node1"], hosts.nodes["node2"]
    node1.write("/var/lib/one/datastores/100/42/vm.xml", "<VM/>")
    assert node1.run("cat /var/lib/one/datastores/100/42/vm.xml").stdout == "<VM/>"
    assert node2.run("ls -A /var/lib/one").stdout == ""
    node2.run("mkdir /var/tmp/one; echo 2 > /var/tmp/one/x")
    assert Path(node2.path("/var/tmp/one/x")).read_text() == "2\n"
    assert not os.path.exists(node1.path("/var/tmp/one"))


def test_a_device_is_on_its_host_alone(hosts: FastHosts, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    node1 = hosts.nodes["node1"]
    os.symlink(tmp_path / "data", os.path.join(node1.layout.devices, "storpool", "vol"))
    assert node1.run("cat /dev/storpool/vol").stdout == "data"
    assert node1.device("vol") == str(tmp_path / "data")
    assert hosts.nodes["node2"].run("ls /dev/storpool").stdout == ""


def test_the_machine_shows_through(hosts: FastHosts) -> None:
    done = hosts.nodes["node1"].run(
        "hostname; echo x > /dev/null; head -c4 /dev/zero | wc -c; ls /etc/passwd"
    )
    assert done.stdout == "node1\n4\n/etc/passwd\n"
    assert not os.path.exists("/dev/storpool/vol")


def test_a_path_that_is_nobodys_own_is_refused(hosts: FastHosts) -> None:
    with pytest.raises(ValueError, match="/etc/passwd"):
        hosts.frontend.path("/etc/passwd")


def test_the_configuration_of_storpool_is_the_hosts_own(hosts: FastHosts) -> None:
    hosts.nodes["node1"].write("/etc/storpool.conf", "SP_OURID=11\n", 0o640)
    assert hosts.nodes["node1"].run("cat /etc/storpool.conf").stdout == "SP_OURID=11\n"
    assert hosts.nodes["node2"].run("cat /etc/storpool.conf").returncode == 1


def test_ssh_leads_to_a_host_and_back(hosts: FastHosts) -> None:
    done = on_frontend(hosts, "ssh -o BatchMode=yes -- node1 'hostname; pwd; cat; exit 7'", b"sent")
    assert (done.returncode, done.stdout) == (7, b"node1\n/var/lib/one\nsent")
    done = on_frontend(hosts, "ssh node1 'hostname; ssh node2 hostname; ssh frontend hostname'")
    assert done.stdout == b"node1\nnode2\nfrontend\n"


def test_ssh_passes_words_as_ssh_does(hosts: FastHosts) -> None:
    done = on_frontend(hosts, """ssh node1 'echo "$0" "a  b"' "'c;d'" """)
    assert done.stdout == b"bash a  b c;d\n"


@pytest.mark.parametrize("host", ["node1", "nowhere"])
def test_a_host_that_is_not_there(hosts: FastHosts, host: str) -> None:
    hosts.nodes["node1"].power_off()
    done = on_frontend(hosts, f"ssh {host} 'echo x > /var/lib/one/x'")
    assert done.returncode == 255
    assert done.stderr.startswith(b"ssh: ")
    hosts.restart()
    assert on_frontend(hosts, "ssh node1 cat /var/lib/one/x").returncode == 1


def test_a_host_that_hangs(hosts: FastHosts) -> None:
    hosts.nodes["node1"].power_off(hang=True)
    start = time.monotonic()
    assert on_frontend(hosts, "timeout 0.3 ssh node1 true").returncode == 124
    assert time.monotonic() - start < 5


def test_an_action_is_the_very_process_that_was_started(hosts: FastHosts) -> None:
    argv = hosts.action_argv(["sleep", "60"], {}, "/var/lib/one")
    with subprocess.Popen(argv) as process:
        deadline = time.monotonic() + 5
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            assert time.monotonic() < deadline
        process.kill()


def test_an_action_has_the_environment_that_it_is_given(hosts: FastHosts) -> None:
    done = on_frontend(hosts, "env")
    names = {line.partition(b"=")[0] for line in done.stdout.splitlines()}
    assert names == {b"HOME", b"PATH", b"TMPDIR", b"PWD", b"SHLVL", b"_"}


def test_the_views_end_with_the_hosts(tmp_path: Path) -> None:
    try:
        hosts = FastHosts(str(tmp_path), ["node1"], str(tmp_path / "dev"), "\0nobody")
    except NoHosts as reason:
        pytest.skip(str(reason))
    pid = int(hosts.frontend.enter[2])
    hosts.close()
    assert not os.path.exists(f"/proc/{pid}")


def test_nothing_of_a_host_is_open_to_others(hosts: FastHosts) -> None:
    hosts.frontend.write("/var/lib/one/.one/one_auth", "oneadmin:secret", 0o600)
    assert stat.S_IMODE(os.stat(hosts.frontend.path("/var/lib/one/.one/one_auth")).st_mode) == 0o600
