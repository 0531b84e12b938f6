"""storpool-addon reserved: what is told of each host, and what OpenNebula is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

from storpool_addon.lab.lab import Lab
from tests import tool

KIB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
# The lab's hosts have this machine's cgroups, in which nothing is set up for VMs.
SLICE = "none-of-the-lab.slice"
UPDATE = "one.host.update"


def run(lab: Lab, *words: str) -> tuple[int, str, str, int]:
    """The command on the front-end: exit code, output, errors, and how often it changed a host."""
    done = lab.run(tool.command(lab, "reserved", *words))
    return done.exit_code, done.stdout, done.stderr, sum(UPDATE in each.what for each in done.calls)


def test_told_and_applied(lab: Lab) -> None:
    confget = Path(lab.directory, "hostbin", "storpool_confget")
    confget.write_text("#!/bin/sh\necho SP_OURID=31\n")
    confget.chmod(0o755)
    lab.configure(cgroup=SLICE)
    code, out, err, updates = run(lab, "--host", "node1", "--host", "nobody", "--json")
    assert code == 1 and "host nobody: OpenNebula knows no such host\n" in err
    assert err.splitlines()[-1] == "storpool-addon: not done: nobody; the command may be repeated"
    (told,) = json.loads(out)
    wanted = told["reserved"]
    assert told["host"] == "node1" and abs(told["memory_kib"]["all"] - KIB) <= 1024
    assert wanted["SP_OURID"] == "31" and "RESERVED_CPU" not in wanted

    code, out, err, updates = run(lab, "--all")
    assert code == 0 and f"storpool-addon: host node1: {told['notes'][0]}\n" in err
    lines = [f'{name}="{value}"' for name, value in wanted.items()]
    assert out.splitlines() == ["# node1", *lines, "# node2", *lines]
    assert updates == 0

    node = lab.oned.host("node1")
    node.attributes.update(RESERVED_CPU="-100", PRIORITY="3")
    code, out, err, updates = run(lab, "--host", "node1", "--apply")
    assert (code, updates) == (0, 1)
    diff = out.splitlines()
    assert diff[:2] == ["--- node1", "+++ node1 (reserved)"]
    assert diff[2:4] == ['-SP_OURID="11"', '+SP_OURID="31"']
    assert node.attributes == {"RESERVED_CPU": "-100", "PRIORITY": "3", **wanted}

    # A dead host is named, and costs the other nothing; offline it is not asked, and what is done is done.
    lab.oned.host("node1").attributes.clear()
    lab.power_off("node2")
    code, out, err, updates = run(lab, "--all", "--apply", "--table")
    assert code == 1 and "not done: node2;" in err and updates == 1
    rows = [line.split() for line in out.splitlines()]
    assert rows[0][:3] == ["HOST", "CPUS", "FOR"] and rows[1][0] == "node1"
    assert rows[2][:3] == ["node2", "-", "-"] and "reading CPUs and memory on host node2 failed" in out
    lab.oned.host("node2").state = 8
    code, out, err, updates = run(lab, "--all", "--apply")
    assert (code, out, updates) == (0, "", 0) and "host node2: offline, left out\n" in err
    assert run(lab)[0] == 2
