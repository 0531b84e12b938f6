"""Commands on hosts: one ssh, values as data, unreachable told apart from failed."""

import os

import pytest

from storpool_addon.errors import HostError, HostUnreachable, UsageError
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Hosts, Shell

# Behaves as sshd does: the words of the command are joined and given to the user's shell.
SSH = """#!/bin/bash
echo "$@" >> "$SSH_LOG"
while [ "$1" != -- ]; do shift; done
case $2 in
  dead) echo "ssh: connect to host dead port 22: No route to host" >&2; exit 255;;
  flaky) if mkdir "$SSH_LOG.once" 2>/dev/null; then exit 255; fi;;
esac
exec bash -c "${*:3}"
"""


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_LOG", str(tmp_path / "log"))
    processes = Processes()
    yield Hosts(processes, "front-end")
    processes.close()


HOSTILE = ["a b", "", "'", '"', "$(touch /tmp/pwned)", "`id`", "a\nb", "*", "\\", "-n", "ü", "!x", "${PATH}"]


@pytest.mark.parametrize("where", ["here", "node1"])
def test_values_arrive_as_they_are(hosts, where):
    shell = hosts.here if where == "here" else hosts.on("node1")
    script = 'for value; do printf "%s\\0" "$value"; done'
    assert shell.run(script, *HOSTILE, what="test").split("\0")[:-1] == HOSTILE


def test_standard_input_reaches_the_script(hosts):
    assert hosts.on("node1").run("cat", what="test", stdin=b"x" * 1_000_000) == "x" * 1_000_000


def test_a_failing_script_is_an_error_with_its_last_line(hosts):
    with pytest.raises(HostError) as caught:
        hosts.on("node1").run("echo no space >&2; exit 7", what="linking /a")
    assert str(caught.value) == "linking /a on host node1 failed (exit code 7): no space"
    assert not isinstance(caught.value, HostUnreachable)


def test_a_dead_host_is_tried_twice_and_told_apart(hosts, tmp_path):
    with pytest.raises(HostUnreachable, match=r"linking /a on host dead failed .*No route to host"):
        hosts.on("dead").run("true", what="linking /a")
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_one_lost_connection_is_ridden_out(hosts):
    assert hosts.on("flaky").run("echo there", what="test") == "there\n"


def test_the_deadline_holds_on_the_host_too(hosts):
    with pytest.raises(HostUnreachable, match="no end after 1 s"):
        hosts.on("node1").run("sleep 30", what="test", timeout_s=1)


@pytest.mark.parametrize("name", ["", "-oProxyCommand=x", "a b", "a;b", "a\n", "$x", "ü"])
def test_a_host_name_is_a_host_name(name):
    with pytest.raises(UsageError, match="is not a host name"):
        Shell(name, Processes())
