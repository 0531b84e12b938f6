"""What may be wrong with what scripts are given: one plain line names it, and nothing is left behind."""

from __future__ import annotations

import base64
import os
import threading
import time
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from tests.sweep import scene
from tests.tm import cloud

SCRIPTS = (
    "clone", "context", "cpds", "delete", "failmigrate", "ln", "mkimage", "mkswap", "monitor", "mv", "mvds",
    "postmigrate", "postrestore", "postsave", "premigrate", "prerestore", "presave", "resize",
    "snap_create", "snap_create_live", "snap_delete", "snap_revert",
)  # fmt: skip
NODE = "node1:/var/lib/one//datastores/100/42"
GOOD = {
    "clone": ("fe:one-ds-101/one-img-7", f"{NODE}/disk.0", "42", "101"),
    "ln": ("fe:one-ds-101/one-img-7", f"{NODE}/disk.0", "42", "101"),
    "mkimage": ("4", "raw", f"{NODE}/disk.0", "42", "100"),
    "mkswap": ("4", f"{NODE}/disk.0", "42", "100"),
    "delete": (f"{NODE}/disk.0", "42", "101"),
    "cpds": (f"{NODE}/disk.0", "one-ds-101/one-img-8", "-1", "42", "101"),
    "mvds": (f"{NODE}/disk.0", "one-ds-101/one-img-7", "42", "101"),
    "mv": (f"{NODE}/disk.0", "node2:/var/lib/one/datastores/100/42/disk.0", "42", "101"),
    "resize": (f"{NODE}/disk.0", "8", "42", "101"),
    **dict.fromkeys(
        ("snap_create", "snap_create_live", "snap_delete", "snap_revert"),
        (f"{NODE}/disk.0", "0", "42", "101"),
    ),
    "context": ("/var/lib/one/vms/42/context.sh", f"{NODE}/disk.0", "42", "100"),
}
MIGRATION = ("node1", "node2", "/var/lib/one/datastores/100/42", "42", "100")


def script(name: str, *args: str, stdin: bytes = b"") -> Command:
    return Command(f"tm/storpool/{name}", args, stdin)


def test_wrong_number_of_arguments(lab: Lab) -> None:
    for name in SCRIPTS:
        for args in ((), ("x",) * 12):
            if name == "context" and args:
                continue
            line = cloud.fails(lab, script(name, *args), code=2)
            assert line.startswith(f"usage: {name} ") and f"(got {len(args)} arguments)" in line


WRONG_WORDS = (
    (0, "one-img-7", "is not the SOURCE of an image"),
    (0, "fe:one-ds-101/one-img-7/../one-img-8", "is not the SOURCE of an image"),
    (0, "fe:one-ds-101/two-img-7", "is not the SOURCE of an image"),
    (0, "fe:one-ds-101/one-img-$(id)", "is not the SOURCE of an image"),
    (1, "disk.0", "TARGET 'disk.0': is not HOST:/PATH"),
    (1, "-oProxyCommand=id:/x/disk.0", "is not the name of a host"),
    (1, "node1;id:/x/disk.0", "is not the name of a host"),
    (1, "node1:/x/../../etc/disk.0", "is not a plain absolute path"),
    (1, f"{NODE}/disk.0.1", "is not the path of a disk"),
    (1, f"{NODE}/disk.-1", "is not the path of a disk"),
    (2, "x", "VM_ID 'x': is not a whole number"),
    (2, "4 2", "VM_ID '4 2': is not a whole number"),
    (2, "", "VM_ID '': is not a whole number"),
    (3, "1" * 40, "is not a whole number"),
)


def test_arguments_of_the_wrong_form(lab: Lab) -> None:
    lab.give_image()
    scene.upto(lab.vms.deploy(lab.vms.create(lab.oned.images[7]), "node1"), "clone")
    before = cloud.picture(lab)
    for index, word, message in WRONG_WORDS:
        args = list(GOOD["clone"])
        args[index] = word
        assert message in cloud.fails(lab, script("clone", *args), code=2)
    assert not cloud.differences(before, cloud.picture(lab))


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><VM><ID>&c;</ID></VM>'
FILE = b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><VM><ID>&f;</ID></VM>'


@pytest.mark.parametrize("name", ["premigrate", "monitor"])
def test_standard_input_that_is_no_document(lab: Lab, name: str) -> None:
    args = ("1",) if name == "monitor" else MIGRATION
    for stdin in (b"", b"garbage!", b"<VM>", b"<VM/>", b"<A/>", BOMB, FILE, b"\xff\xfe\0"):
        for text in {stdin, base64.b64encode(stdin)}:
            line = cloud.fails(lab, script(name, *args, stdin=text), code=2)
            assert "root:" not in line and "bbbbbbbb" not in line
    assert cloud.attached(lab) == {}


@pytest.mark.parametrize(
    ("without", "message"), [("<TEMPLATE>", "TEMPLATE"), ("<DISK_ID>", "DISK_ID"), ("<HISTORY>", "history")]
)
def test_a_vm_without_what_every_vm_has(lab: Lab, without: str, message: str) -> None:
    """A document that lacks something makes an error that says what, never a wrong disk."""
    lab.give_image()
    vm = lab.vms.create(lab.oned.images[7])
    command = scene.upto(lab.vms.deploy(vm, "node1"), "clone")
    plain = type(vm).document
    vm.document = lambda *args, **kwargs: (
        plain(vm, *args, **kwargs)
        .replace(without, "<X>")
        .replace(  # type: ignore[method-assign]
            without.replace("<", "</"), "</X>"
        )
    )
    result = lab.run(command)
    assert result.exit_code in (1, 2) and "42" in result.stderr and result.stderr.count("\n") == 1
    assert cloud.volumes(lab) == {"one-img-7"}


def test_a_vm_that_oned_does_not_know(lab: Lab) -> None:
    for name, args in GOOD.items():
        assert "42" in cloud.fails(lab, script(name, *args))


@pytest.mark.parametrize("name", ["clone", "delete", "context", "mv"])
def test_oned_does_not_answer(lab: Lab, name: str) -> None:
    lab.configure(ONE_CALL_RETRIES=0)
    lab.hosts.frontend.write("/var/lib/one/.one/one_endpoint", "http://127.0.0.1:1/RPC2\n")
    line = cloud.fails(lab, script(name, *GOOD[name]))
    assert "http://127.0.0.1:1/RPC2" in line


def ready(lab: Lab) -> Command:
    """A clone that would succeed."""
    lab.give_image()
    return scene.upto(lab.vms.deploy(lab.vms.create(lab.oned.images[7]), "node1"), "clone")


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (Verdict("refuse"), "was lost"),
        (Verdict.error("insufficientResources", "no space left"), "no space left"),
        (Verdict.error("serverError", "x\ny", status=500), "x y"),
    ],
)
def test_storpool_cannot_be_asked(lab: Lab, verdict: Verdict, message: str) -> None:
    lab.configure(SP_API_DEADLINE=1)
    command = ready(lab)
    lab.simulator.faults.set([Fault(verdict, "VolumeCreate", times=0)])
    line = cloud.fails(lab, command)
    assert message in line and "one-img-7-42-0" in line


@pytest.mark.parametrize("kind", ["garbage", "truncated", "lose"])
def test_what_was_done_is_recognised_behind_a_bad_answer(lab: Lab, kind: str) -> None:
    lab.configure(SP_API_DEADLINE=2)
    command = ready(lab)
    for query in ("VolumeCreate", "VolumesReassignWait"):
        lab.simulator.faults.set([Fault(Verdict(kind), query)])
        cloud.succeeds(lab, command)
    assert cloud.attached(lab) == {"one-img-7-42-0": {"node1": "rw"}}


def test_a_wrong_token_is_not_shown(lab: Lab) -> None:
    """I9."""
    command = ready(lab)
    conf = lab.storpool_conf().replace(lab.simulator.token, "7777777777777")
    lab.hosts.frontend.write("/etc/storpool.conf", conf, 0o640)
    line = cloud.refused(lab, command)
    assert "SP_AUTH_TOKEN" in line and "7777777777777" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('DELAY_DELETE="2 days"', "DELAY_DELETE"),
        ('SP_SYSTEM="nfs"', "SP_SYSTEM"),
        ('READONLY_MODE="rx"', "READONLY_MODE"),
        ('ATTACH_TIMEOUT="long"', "ATTACH_TIMEOUT"),
        ('ONE_PX="a b"', "ONE_PX"),
        ("DELAY_DELETE=$(touch /tmp/x)", "addon-storpoolrc"),
    ],
)
def test_a_configuration_that_cannot_be(lab: Lab, text: str, message: str) -> None:
    command = ready(lab)
    lab.hosts.frontend.write("/var/lib/one/remotes/addon-storpoolrc", text + "\n")
    line = cloud.refused(lab, command)
    assert message in line and "addon-storpoolrc" in line


@pytest.mark.parametrize(
    ("where", "key"), [("vm", "SP_QOSCLASS"), ("vm", "VC_POLICY"), ("ds", "SP_QOSCLASS")]
)
def test_attributes_that_cannot_be_tags(lab: Lab, where: str, key: str) -> None:
    command = ready(lab)
    place = lab.oned.vms[42].user_attributes if where == "vm" else lab.oned.datastores[100].attributes
    for text in ("a b;c'd", "$(id)", "ü", "x" * 300):
        place[key] = text
        assert len(cloud.refused(lab, command)) < 400


def test_the_token_never_leaves_the_process(lab: Lab) -> None:
    """I9: not in any child's arguments or environment, on whatever host, while an action is under way."""
    vm = lab.vms.create(Volatile(8, fs="ext4"))
    command = scene.upto(lab.vms.deploy(vm, "node1"), "mkimage")
    # No other cloud that is played on this machine has this token.
    lab.simulator.token = "".join(str(byte) for byte in os.urandom(8))
    lab.hosts.frontend.write("/etc/storpool.conf", lab.storpool_conf(), 0o640)
    lab.simulator.switches = lab.simulator.switches._replace(link_delay_s=1.0)
    lab.configure(LOG_TO_FILE=1)
    seen: set[str] = set()
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(seen, stop))
    watcher.start()
    result = lab.run(command)
    stop.set()
    watcher.join()
    assert result.exit_code == 0
    assert any("mkfs.ext4" in text for text in seen), "the remote command was not seen"
    assert not [text for text in seen if lab.simulator.token in text]
    assert lab.simulator.token not in result.stdout + result.stderr


def watch(seen: set[str], stop: threading.Event) -> None:
    """Collect arguments and environment of every process of the machine but our own."""
    own = {str(os.getpid())}
    while not stop.is_set():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if pid not in own:
                seen.update(text for name in ("cmdline", "environ") if (text := read(f"/proc/{pid}/{name}")))
        time.sleep(0.02)


def read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
