"""Real hosts: what makes them real, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from storpool_addon.lab.lab import Lab

# Each test starts hosts of its own; that takes a fifth of a second.


def attach(lab: Lab, how: str = "rw") -> None:
    """Attach the image to node1, or detach it."""
    item = {"volume": "one-img-7", how: [11]}
    lab.storpool("VolumesReassignWait", {"reassign": [item], "attachTimeout": 10})


def test_who_and_where(real_lab: Lab) -> None:
    for name, host in {"frontend": real_lab.hosts.frontend, **real_lab.hosts.nodes}.items():
        done = host.run("hostname; id -un; id -Gn; cat /etc/hostname; pwd")
        assert done.stdout.split("\n")[:2] == [name, "oneadmin"], done.stderr
        assert "disk" in done.stdout.split("\n")[2].split()
        assert done.stdout.split("\n")[3:5] == [name, "/var/lib/one"]


def test_ssh_leads_from_host_to_host(real_lab: Lab) -> None:
    node1, node2 = real_lab.hosts.nodes["node1"], real_lab.hosts.nodes["node2"]
    done = real_lab.hosts.frontend.run("ssh -o BatchMode=yes -A node1 'hostname; ssh -- node2 hostname'")
    assert done.stdout == "node1\nnode2\n", done.stderr
    assert node2.run("ssh frontend hostname").stdout == "frontend\n"
    assert node1.run("ssh node1 'exit 7'").returncode == 7


def test_a_volume_is_a_block_device_on_its_host_alone(real_lab: Lab) -> None:
    real_lab.give_image(content=b"hello")
    attach(real_lab)
    node1, node2 = real_lab.hosts.nodes["node1"], real_lab.hosts.nodes["node2"]
    done = node1.run("test -b /dev/storpool/one-img-7 && head -c5 /dev/storpool/one-img-7")
    assert done.stdout == "hello", done.stderr
    assert node2.run("ls -A /dev/storpool").stdout == ""
    assert (
        node1.run("printf H | dd of=/dev/storpool/one-img-7 conv=notrunc,fsync status=none").returncode == 0
    )
    assert real_lab.read_volume("one-img-7", 5) == b"Hello"


def test_an_open_device_is_busy(real_lab: Lab) -> None:
    real_lab.give_image()
    attach(real_lab)
    command = [
        *real_lab.hosts.nodes["node1"].enter,
        "bash",
        "-c",
        "exec <>/dev/storpool/one-img-7; echo; sleep 60",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"\n"
        with pytest.raises(Exception, match="open at"):
            attach(real_lab, "detach")
        holder.kill()


def test_hosts_have_processes_and_devices_of_their_own(real_lab: Lab) -> None:
    node1, node2 = real_lab.hosts.nodes["node1"], real_lab.hosts.nodes["node2"]
    with subprocess.Popen([*node1.enter, "sleep", "61"]) as sleeper:
        assert "sleep 61" in node1.run("ps ax -o args").stdout
        assert "sleep 61" not in node2.run("ps ax -o args").stdout
        sleeper.kill()
    assert node1.run("echo x > /run/one/x && ls /run/one").stdout == "x\n"
    assert node2.run("ls /run/one").stdout == ""


def test_a_power_cut_ends_everything_and_keeps_the_files(real_lab: Lab) -> None:
    node1, frontend = real_lab.hosts.nodes["node1"], real_lab.hosts.frontend
    node1.write("/var/lib/one/datastores/100/42/x", "kept")
    with subprocess.Popen([*node1.enter, "sleep", "60"]) as sleeper:
        real_lab.power_off("node1")
        assert sleeper.wait(5) != 0
    done = frontend.run("ssh -o ConnectTimeout=2 node1 true")
    assert (done.returncode, done.stderr.count("Connection refused")) == (255, 1)
    assert real_lab.simulator.cluster.clients()[11].status == "down"
    real_lab.power_on("node1")
    assert frontend.run("ssh node1 cat /var/lib/one/datastores/100/42/x").stdout == "kept"


def test_a_host_that_hangs_answers_when_it_goes_on(real_lab: Lab) -> None:
    node1, frontend = real_lab.hosts.nodes["node1"], real_lab.hosts.frontend
    node1.power_off(hang=True)
    assert frontend.run("ssh -o ConnectTimeout=1 node1 true").returncode == 255
    node1.power_on()
    assert frontend.run("ssh -o ConnectTimeout=5 node1 hostname").stdout == "node1\n"


def test_the_network_is_the_hosts_own(real_lab: Lab) -> None:
    port = real_lab.simulator.endpoint.port
    answers = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
    assert real_lab.hosts.frontend.run(answers).returncode == 0
    assert subprocess.run(["bash", "-c", answers], capture_output=True, check=False).returncode == 1


HOLD = """
import sys; from storpool_addon.lab.lab import Lab
lab = Lab(sys.argv[1], sys.argv[2], real=True)
lab.give_image(content=b"x")
lab.storpool("VolumesReassignWait", {"reassign": [{"volume": "one-img-7", "rw": [11]}], "attachTimeout": 10})
print([lab.hosts.frontend.enter[2], lab.hosts.nodes["node1"].enter[2]], flush=True)
sys.stdin.read()
"""


def test_hosts_end_with_the_process_that_made_them(real_lab: Lab, installed_tree: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-c", HOLD, os.path.join(directory, "lab"), installed_tree]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
            assert maker.stdout
            pids = [int(word) for word in eval(maker.stdout.readline())]
            maker.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < deadline, "a host outlived its maker"
            time.sleep(0.02)
        # What a killed simulator cannot take back itself is the loop device; the next one on its state does.
        for loop in _loops(directory):
            subprocess.run(["losetup", "-d", loop], check=True)


def test_nothing_is_left_behind(installed_tree: str) -> None:
    from storpool_addon.lab.hosts import NoHosts

    mounts = Path("/proc/self/mounts").read_text()
    with tempfile.TemporaryDirectory() as directory:
        try:
            with Lab(os.path.join(directory, "lab"), installed_tree, real=True) as lab:
                lab.give_image(content=b"x")
                attach(lab)
                assert len(_loops(directory)) == 1
                pids = [int(host.enter[2]) for host in (lab.hosts.frontend, *lab.hosts.nodes.values())]
        except NoHosts as reason:
            pytest.skip(str(reason))
        assert _loops(directory) == []
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert Path("/proc/self/mounts").read_text() == mounts


def _loops(directory: str) -> list[str]:
    """Loop devices over files below a directory."""
    listed = subprocess.run(
        ["losetup", "-nO", "NAME,BACK-FILE"], capture_output=True, text=True, check=True
    ).stdout
    return [line.split()[0] for line in listed.splitlines() if directory in line]


@pytest.mark.parametrize("control_master", [False, True])
def test_ssh_keeps_its_connection_when_asked(installed_tree: str, control_master: bool) -> None:
    from storpool_addon.lab.hosts import NoHosts

    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        try:
            lab = Lab(
                os.path.join(directory, "lab"), installed_tree, real=True, control_master=control_master
            )
        except NoHosts as reason:
            pytest.skip(str(reason))
        with lab:
            assert lab.hosts.frontend.run("ssh node1 true").returncode == 0
            assert (lab.hosts.frontend.run("ls /run/one").stdout != "") == control_master
