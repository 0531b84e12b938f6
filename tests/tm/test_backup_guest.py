"""A backup and others at work: the guest, which waits for it, and people who want it to end."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import ENVIRONMENT, Lab
from storpool_addon.lab.lab import HOME as FRONTEND_HOME
from tests.sweep import leftovers
from tests.tm import cloud
from tests.tm.backups import BACKUP, PATH, UUID, is_clean, machine

pytestmark = pytest.mark.needs("qemu-img")

# The guest

VIRSH = """#!/bin/bash
echo "$3 $4" >>/var/tmp/virsh
[ "$3" != "$(cat /var/tmp/fails 2>/dev/null)" ]
"""


def said(lab: Lab) -> list[str]:
    printed = lab.hosts.nodes["node1"].run("cut -d ' ' -f 1 /var/tmp/virsh 2>/dev/null").stdout
    return [word for word in printed.split() if word != "domstate"]


@pytest.mark.parametrize(
    ("mode", "words"),
    [("NONE", []), ("AGENT", ["domfsfreeze", "domfsthaw"]), ("SUSPEND", ["suspend", "resume"])],
)
def test_the_guest_holds_still(lab: Lab, mode: str, words: list[str]) -> None:
    program = Path(lab.directory, "hostbin", "virsh")
    program.write_text(VIRSH)
    program.chmod(0o755)
    vm = machine(lab, FS_FREEZE=mode)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    assert said(lab) == words
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    if words:
        lab.hosts.nodes["node1"].write("/var/tmp/fails", words[0])
        assert "node1" in cloud.fails(lab, lab.vm_backups.pre(vm))
        assert is_clean(lab)
    vm.lcm_state, vm.deploy_id = 70, ""
    cloud.succeeds(lab, lab.vm_backups.pre(vm))


def test_the_virtual_tpm_is_kept(lab: Lab) -> None:
    vm = machine(lab, LAST_BRIDGE="node2")
    vm.attributes["TPM"] = {"MODEL": "tpm-crb"}
    lab.hosts.nodes["node1"].write(f"{vm.home}/tpm/tpm2-00.permall", b"secrets")
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    packed = cloud.files(lab, "node2", BACKUP)["disk.tpm.0"]
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.extractfile("tpm/tpm2-00.permall")
        assert member and member.read() == b"secrets"


def test_the_guest_waits_for_the_snapshots_and_for_nothing_else(lab: Lab) -> None:
    program = Path(lab.directory, "hostbin", "virsh")
    program.write_text('#!/bin/bash\n[ "$3" != domfsthaw ] || date +%s.%N >/var/tmp/thawed\n')
    program.chmod(0o755)
    vm = machine(lab, FS_FREEZE="AGENT")
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    thawed = float(lab.hosts.nodes["node1"].run("cat /var/tmp/thawed").stdout)
    calls = {each.query: each.time for each in lab.simulator.requests}
    assert calls["VolumesGroupSnapshot"] < thawed < calls["SnapshotUpdate"]


def test_a_host_that_reports_on_when_all_is_done(lab: Lab) -> None:
    program = Path(lab.directory, "hostbin", "python3")
    program.write_text('#!/bin/sh\nprintf "done\\n4096\\n"\n')
    program.chmod(0o755)
    cloud.succeeds(lab, lab.vm_backups.pre(machine(lab)))


# Cancelling

# How OpenNebula's rsync and restic drivers end a backup.
CANCEL = r"""
ps --no-headers -o pid,cmd -C ruby \
    | awk '$0 ~ "(pre)?backup(_live)? .*UUID " { print $1 }' | xargs -r kill -s TERM
"""
SLOW = """#!/bin/sh
for path; do :; done
while sleep 0.02; do echo x >>"$path"; done
"""


def test_a_backup_is_cancelled(lab: Lab) -> None:
    vm = machine(lab)
    vm.deploy_id = UUID
    program = Path(lab.directory, "hostbin", "qemu-img")
    program.write_text(SLOW)
    program.chmod(0o755)
    command = lab.vm_backups.pre(vm)
    before = cloud.attached(lab), cloud.links(lab, "node1")
    argv = lab.hosts.action_argv(command.argv, ENVIRONMENT, FRONTEND_HOME)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as run:
        assert run.stdin
        run.stdin.write(command.stdin)
        run.stdin.close()
        run.stdin = None
        target = Path(lab.hosts.nodes["node1"].path(f"{BACKUP}/disk.0.0"))
        try:
            wait_until(target.exists)
            # ps cuts what it shows where it is told how wide a terminal is.
            subprocess.run(["bash", "-c", CANCEL.replace("UUID", UUID)], check=True, env={"PATH": PATH})
            stdout, stderr = run.communicate(timeout=60)
        finally:
            run.kill()
    assert (run.returncode, stdout) == (143, b"")
    assert stderr == b"prebackup_live was ended by signal 15; what it had begun was undone\n"
    assert not leftovers.processes(lab, patience_s=2)
    assert is_clean(lab) and before == (cloud.attached(lab), cloud.links(lab, "node1"))


def wait_until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not there() and time.monotonic() < end:
        time.sleep(0.02)
    assert there()


def test_two_at_once(lab: Lab) -> None:
    vm = machine(lab)
    command: Command = lab.vm_backups.pre(vm)
    argv = lab.hosts.action_argv(command.argv, ENVIRONMENT, FRONTEND_HOME)
    lock = "/var/lib/one/.storpool-addon/locks/backup-of-vm-42"
    lab.hosts.frontend.write(lock, "process 1 (tm_sp_prebackup) since then", 0o600)
    holder = subprocess.Popen(["flock", lab.hosts.frontend.path(lock), "sleep", "60"])
    try:
        time.sleep(0.2)
        ended = subprocess.run(argv, input=command.stdin, capture_output=True, check=False)
        assert ended.returncode == 1
        assert b"backup-of-vm-42 is being worked on by process 1 (tm_sp_prebackup) since then" in ended.stderr
    finally:
        holder.kill()
        holder.wait()
    assert is_clean(lab)
