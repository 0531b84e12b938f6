"""What may come in the way of a backup: hosts, disks, guests, bases, and people who want it to end."""

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
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests.second import Second
from tests.sweep import leftovers, scene
from tests.tm import cloud
from tests.tm.cloud import HOME

pytestmark = pytest.mark.needs("qemu-img")
BACKUP = f"{HOME}/backup"
DISK = "one-img-7-42-0"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
UUID = "0b3dd5c5-7a2e-45ea-a4a3-0000000000ba"


def machine(lab: Lab, *disks: Image | Volatile, **config: str) -> Vm:
    """A VM that runs on node1 and is in the state of a backup."""
    vm = scene.machine(lab, *(disks or [lab.give_image(content=b"first" * 1000)]))
    lab.vm_backups.configure(vm, **config)
    vm.lcm_state = 69
    return vm


def increment(vm: Vm, number: int, chain: str = "31") -> None:
    """Let the next backup be that one of a chain."""
    last, name = str(number - 1), chain if number else "-1"
    vm.backup.update(MODE="INCREMENT", LAST_INCREMENT_ID=last, INCREMENTAL_BACKUP_ID=name)


def files(lab: Lab, host: str = "node1", place: str = BACKUP) -> set[str]:
    return set(cloud.files(lab, host, place))


def is_clean(lab: Lab, host: str = "node1", place: str = BACKUP) -> bool:
    """Nothing of a backup is left."""
    lent = [each for each in lab.storpool("AttachmentsList") if each["snapshot"]]
    return not lent and not cloud.snapshots(lab) and not Path(cloud.at(lab, host).path(place)).exists()


def written(lab: Lab, target: str) -> int:
    return Path(lab.hosts.nodes["node1"].path(f"{BACKUP}/{target}")).stat().st_size


# Which base an increment has


def prepared(lab: Lab, vm: Vm) -> None:
    """A backup that succeeds."""
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    lab.vm_backups.succeeded(vm, 31)


def spoilt(lab: Lab, how: str) -> None:
    """Make the snapshot of increment 1 one that increment 2 must not be compared with."""
    name = f"{DISK}-ONEBACKUP-odd"
    tags = {"gone": {}, "another VM's": {"nvm": "43"}, "another chain's": {"backup": "30:1"},
            "another number's": {"backup": "31:3"}, "as it was": {}}[how]  # fmt: skip
    if how == "gone":
        lab.storpool(f"SnapshotDelete/{name}", {})
    elif tags:
        lab.storpool(f"SnapshotUpdate/{name}", {"tags": tags})


@pytest.mark.parametrize("how", ["as it was", "gone", "another VM's", "another chain's", "another number's"])
def test_only_the_snapshot_of_the_last_increment_is_a_base(lab: Lab, how: str) -> None:
    image = lab.give_image(content=bytes(range(256)) * 4096)
    vm = machine(lab, image, MODE="INCREMENT")
    for _ in range(2):
        prepared(lab, vm)
    spoilt(lab, how)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    assert (written(lab, "disk.0.2") < 100_000) == (how == "as it was")


def test_a_failed_backup_is_made_anew_from_the_same_base(lab: Lab) -> None:
    vm = machine(lab, MODE="INCREMENT")
    prepared(lab, vm)
    for content in (b"lost with the datastore", b"the second try"):
        with open(lab.hosts.nodes["node1"].device(DISK), "r+b") as device:
            device.write(content)
        cloud.succeeds(lab, lab.vm_backups.pre(vm))
        made = Path(lab.hosts.nodes["node1"].path(f"{BACKUP}/disk.0.1")).read_bytes()
        assert content in made
        cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-even", f"{DISK}-ONEBACKUP-odd"}


@pytest.mark.parametrize("mode", ["FULL", "INCREMENT"])
def test_a_new_chain_frees_what_the_old_one_kept(lab: Lab, mode: str) -> None:
    vm = machine(lab, MODE="INCREMENT")
    for _ in range(2):
        prepared(lab, vm)
    lab.vm_backups.configure(vm, MODE="FULL")
    lab.vm_backups.configure(vm, MODE=mode)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    word = "full" if mode == "FULL" else "even"
    assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-{word}"}
    assert files(lab) == {"vm.xml", "disk.0.0"}


# Where it is written


def test_a_bridge_host_writes_the_files(lab: Lab) -> None:
    vm = machine(lab, LAST_BRIDGE="node2")
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    assert files(lab, "node2") == {"vm.xml", "disk.0.0"} and not files(lab, "node1")
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert is_clean(lab, "node2") and not Path(lab.hosts.nodes["node2"].path(HOME)).exists()


def test_a_place_of_its_own(lab: Lab) -> None:
    place = "/var/tmp/backups"
    lab.hosts.frontend.write(
        "/var/lib/one/remotes/etc/datastore/datastore.conf", f'BACKUP_BASE_PATH="{place}"\n'
    )
    vm = machine(lab)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    assert files(lab, place=f"{place}/42/backup") == {"vm.xml", "disk.0.0"} and not files(lab)
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert is_clean(lab, place=f"{place}/42")


def test_a_full_host(lab: Lab) -> None:
    vm = machine(lab, lab.give_image(content=bytes(range(256)) * 8192))
    program = Path(lab.directory, "hostbin", "qemu-img")
    program.write_text(
        '#!/bin/sh\necho "qemu-img: error while writing: No space left on device" >&2; exit 1\n'
    )
    program.chmod(0o755)
    line = cloud.fails(lab, lab.vm_backups.pre(vm))
    assert "node1" in line and "disk.0.0: qemu-img: error while writing: No space left on device" in line
    assert line.endswith(f"make room where {BACKUP} is, or set BACKUP_BASE_PATH")
    assert is_clean(lab)


def test_a_dead_host_is_no_obstacle_to_the_clean_up(lab: Lab) -> None:
    vm = machine(lab)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    lab.power_off("node1")
    cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert cloud.snapshots(lab) == {}
    lab.configure(ATTACH_TIMEOUT=1)
    assert "11" in cloud.fails(lab, lab.vm_backups.pre(vm))
    assert cloud.snapshots(lab) == {}


def test_it_stands_back_as_the_datastore_says(lab: Lab) -> None:
    lab.backups.add_datastore(RSYNC_NICE="7", RSYNC_IONICE="3")
    vm = machine(lab, LAST_DATASTORE_ID="110")
    for name in ("nice", "ionice"):
        program = Path(lab.directory, "hostbin", name)
        program.write_text(f'#!/bin/sh\necho {name} "$@" >>/var/tmp/said\nexec /usr/bin/{name} "$@"\n')
        program.chmod(0o755)
    cloud.succeeds(lab, lab.vm_backups.pre(vm))
    said = lab.hosts.nodes["node1"].run("cut -c 1-40 /var/tmp/said").stdout.splitlines()
    assert [line.split()[:5] for line in said] == [
        ["nice", "-n", "7", "ionice", "-c"],
        ["ionice", "-c", "2", "-n", "3"],
    ]


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


# What cannot be backed up


def foreign(vm: Vm) -> None:
    vm.disks[0]["TM_MAD"] = "ceph"


def interactive(vm: Vm) -> None:
    vm.backup["INTERACTIVE"] = "YES"


def unknown_mode(vm: Vm) -> None:
    vm.backup["MODE"] = "SOMETIMES"


def no_number(vm: Vm) -> None:
    vm.backup.update(MODE="INCREMENT", LAST_INCREMENT_ID="x")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (foreign, 1, "disk 0 of VM 42 is kept by ceph"),
        (interactive, 1, "VM 42: this driver makes no interactive backups"),
        (unknown_mode, 2, "'SOMETIMES' is neither FULL nor INCREMENT"),
        (no_number, 2, "LAST_INCREMENT_ID 'x' is not a whole number"),
    ],
)
def test_refusals(lab: Lab, spoil: Callable[[Vm], None], code: int, words: str) -> None:
    vm = machine(lab)
    spoil(vm)
    assert words in cloud.refused(lab, lab.vm_backups.pre(vm), code=code)
    if code == 1:
        cloud.succeeds(lab, lab.vm_backups.post(vm))


def test_words_that_do_not_fit(lab: Lab) -> None:
    vm = machine(lab)
    command = lab.vm_backups.pre(vm)
    place, _, *rest = command.args
    assert "no disk 5" in cloud.refused(lab, command._replace(args=(place, "0:5", *rest)))
    assert "DISK_IDS" in cloud.refused(lab, command._replace(args=(place, "0,1", *rest)), code=2)
    elsewhere = ("node1:/var/lib/one/datastores/100/43", "0", *rest)
    assert "VM 42" in cloud.refused(lab, command._replace(args=elsewhere), code=2)
    others = (*command.args[:-2], "43", "100")
    cloud.refused(lab, command._replace(args=("node1:/var/lib/one/datastores/100/43", *others[1:])), code=1)


def test_what_a_newer_oned_adds_is_left_out(lab: Lab) -> None:
    vm = machine(lab)
    command = lab.vm_backups.post(vm)
    more = command.stdin + b"<BACKUP_RESULT>SUCCESS</BACKUP_RESULT>"
    cloud.succeeds(lab, command._replace(stdin=more))


# Others' objects, and our own later on


def test_anothers_snapshot_of_our_name_stays(lab: Lab) -> None:
    vm = machine(lab)
    cloud.foreign(lab, "elsewhere", {"virt": "one", "nloc": "two"}, f"{DISK}-ONEBACKUP-full")
    assert f"{DISK}-ONEBACKUP-full" in cloud.fails(lab, lab.vm_backups.pre(vm))
    assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-full"}


@pytest.mark.parametrize("persistent", [False, True])
def test_nothing_outlives_the_vm(lab: Lab, persistent: bool) -> None:
    vm = machine(lab, lab.give_image(persistent=persistent), MODE="INCREMENT")
    for _ in range(2):
        prepared(lab, vm)
    assert len(cloud.snapshots(lab)) == 2
    lab.do(lab.vms.terminate(vm))
    assert not [name for name in cloud.snapshots(lab) if "ONEBACKUP" in name]


@pytest.mark.parametrize("kind", ["SHAREABLE", "IMMUTABLE"])
def test_vms_of_one_image_have_backups_of_their_own(lab: Lab, kind: str) -> None:
    image = lab.give_image(persistent=True, content=b"first" * 1000)
    image.attributes["PERSISTENT_TYPE"] = kind
    first, second = (machine(lab, image, MODE="INCREMENT") for _ in range(2))
    for vm in (first, second, first, second):
        prepared(lab, vm)
    names = {
        vm.id: {f"one-img-7-ONEBACKUP-{vm.id}-0-{word}" for word in ("even", "odd")} for vm in (first, second)
    }
    assert set(cloud.snapshots(lab)) == names[first.id] | names[second.id]
    lab.do(lab.vms.terminate(first))
    assert set(cloud.snapshots(lab)) == names[second.id]
    lab.do(lab.vms.terminate(second))
    assert cloud.snapshots(lab) == {}


def test_two_clusters(lab: Lab, tmp_path: Path) -> None:
    with Second(lab, tmp_path, {"node1": 21, "node2": 22}) as second:
        second.datastore.attributes.update(second.address, SP_CLUSTER_ID="d.m")
        for host in lab.oned.hosts.values():
            host.attributes.update(SP_CLUSTER_ID="d.n", SP_OURID_D_M=str(second.clients[host.name]))
        vm = lab.vms.create(
            lab.give_image(content=b"here"), second.give_image(persistent=True), context=False
        )
        lab.do(lab.vms.deploy(vm, "node1"))
        lab.vm_backups.configure(vm)
        vm.lcm_state = 69
        cloud.succeeds(lab, lab.vm_backups.pre(vm))
        assert files(lab) == {"vm.xml", "disk.0.0", "disk.1.0"}
        snapshots = [each["name"] for each in second.ask("SnapshotsList")]
        assert "one-img-8-ONEBACKUP-full" in snapshots
        assert set(cloud.snapshots(lab)) == {f"{DISK}-ONEBACKUP-full"}
        cloud.succeeds(lab, lab.vm_backups.post(vm))
        assert is_clean(lab)
        assert "one-img-8-ONEBACKUP-full" not in [each["name"] for each in second.ask("SnapshotsList")]


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
