"""An alias of a NIC comes to a running VM, or goes: the sets of its host have all its addresses, or none."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.programs import SYSTEM_PATH
from tests.sweep import scene
from tests.tm import cloud

# A set is a directory, with a file for each address; adding and taking away twice are as good as once.
PLAYED = """#!/bin/bash
cd /var/tmp/sets || exit
case "$*" in
"list -name") ls ;;
"create "*) mkdir "$2" ;;
"destroy") rm -r ./* ;;
"-exist add "*) [ -d "$3" ] && touch "$3/$4" ;;
"-exist del "*) [ -d "$3" ] && rm -f "$3/$4" ;;
save) for each in */*; do [ ! -f "$each" ] || echo "add ${each/\\// }"; done ;;
*) exit 2 ;;
esac
"""
SUDO = """#!/bin/bash
[ "$1" = -n ] && shift && exec "$@"
"""
# Says that it is there, and waits for the end of its input.
HOLD = ("sh", "-c", "echo; exec cat >/dev/null")
FOUR, SIX = "one-42-0-ip-spoofing", "one-42-0-ip6-spoofing"
NIC = {"NIC_ID": "0", "IP": "192.0.2.10", "MAC": "02:00:c0:00:02:0a", "FILTER_IP_SPOOFING": "YES"}
ALIAS = {
    "NIC_ID": "2",
    "PARENT_ID": "0",
    "IP": "192.0.2.11",
    "VROUTER_IP": "192.0.2.1",
    "IP6_GLOBAL": "2001:db8::b",
    "IP6_LINK": "fe80::b",
    "ATTACH": "YES",
}


@pytest.fixture(params=["played", "real"])
def vm(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Vm]:
    """A VM that runs on a host whose network driver has just made its sets: the kernel's, or files."""
    with contextlib.ExitStack() as undo:
        text = PLAYED if request.param == "played" else undo.enter_context(in_a_namespace())
        for name, script in (("ipset", text), ("sudo", SUDO)):
            program = Path(lab.directory, "hostbin", name)
            program.write_text(script)
            program.chmod(0o755)
        ipset(lab, f"create {FOUR} hash:ip family inet", f"create {SIX} hash:ip family inet6")
        ipset(lab, f"-exist add {FOUR} 192.0.2.10")
        found = scene.machine(lab, context=False)
        networks(found)
        yield found


@contextlib.contextmanager
def in_a_namespace() -> Iterator[str]:
    """A program that is the real ipset, in a network namespace of its own."""
    program = shutil.which("ipset", path=SYSTEM_PATH)
    if program is None or os.geteuid() != 0:
        pytest.skip("ipset in a network namespace needs ipset and root")
    with subprocess.Popen(
        ["unshare", "--net", *HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.read(1)
        command = f"nsenter --net=/proc/{holder.pid}/ns/net {program}"
        if subprocess.run([*command.split(), "list", "-name"], capture_output=True, check=False).returncode:
            pytest.skip("this kernel has no sets of addresses")
        yield f'#!/bin/bash\nexec {command} "$@"\n'


def ipset(lab: Lab, *commands: str) -> str:
    """What the host's ipset says."""
    script = "mkdir -p /var/tmp/sets; " + "; ".join(f"ipset {each}" for each in commands)
    return lab.hosts.nodes["node1"].run(script).stdout


def networks(vm: Vm, *aliases: dict[str, str], **more: str) -> None:
    """What oned has: one NIC, and these aliases. more: attributes of the NIC."""
    vm.attributes.update(NIC=[{**NIC, **more}], NIC_ALIAS=list(aliases))


def hook(lab: Lab) -> Command:
    """As the hook manager starts it now."""
    return Command("hooks/storpool/nic_alias", (), b64encode(lab.oned.vms[42].document("7.4").encode()))


def sets(lab: Lab) -> dict[str, set[str]]:
    """The addresses that pass, by set."""
    found: dict[str, set[str]] = {}
    for line in ipset(lab, "save").splitlines():
        verb, name, address, *_ = line.split()
        if verb == "add":
            found.setdefault(name, set()).add(address)
    return found


def test_an_alias_comes_and_goes(lab: Lab, vm: Vm) -> None:
    assert not cloud.succeeds(lab, hook(lab)).calls, "nothing is asked for a NIC that is no alias"
    networks(vm, ALIAS, ALIAS_IDS="2")
    attached = {
        FOUR: {"192.0.2.10", "192.0.2.11", "192.0.2.1"},
        SIX: {"2001:db8::b", "fe80::b"},
    }
    attach = hook(lab)
    for _ in range(2):
        cloud.succeeds(lab, attach)
        assert sets(lab) == attached
    # Another alias keeps an address that both have.
    other = {"NIC_ID": "3", "PARENT_ID": "0", "IP": "192.0.2.12", "VROUTER_IP": "192.0.2.1"}
    networks(vm, ALIAS, other, ALIAS_IDS="3")
    detach = hook(lab)
    for _ in range(2):
        cloud.succeeds(lab, detach)
        assert sets(lab) == {FOUR: {"192.0.2.10", "192.0.2.12", "192.0.2.1"}}
    # The message of the attach comes late: what oned says now counts.
    networks(vm, other, ALIAS_IDS="3")
    cloud.succeeds(lab, attach)
    assert sets(lab) == {FOUR: {"192.0.2.10", "192.0.2.12", "192.0.2.1"}}


@pytest.mark.parametrize("vm", ["played"], indirect=True)
def test_what_is_left_alone_or_refused(lab: Lab, vm: Vm) -> None:
    before = sets(lab)
    networks(vm, ALIAS, ALIAS_IDS="2", FILTER_IP_SPOOFING="NO")
    cloud.succeeds(lab, hook(lab))
    networks(vm, {**ALIAS, "PARENT_ID": "1"}, ALIAS_IDS="2")
    cloud.succeeds(lab, hook(lab))
    assert sets(lab) == before
    networks(vm, {**ALIAS, "IP": "$(reboot)"}, ALIAS_IDS="2")
    assert "VM 42: '$(reboot)' is not an IP address" in cloud.fails(lab, hook(lab), code=2)
    networks(vm, ALIAS, ALIAS_IDS="2")
    ipset(lab, "destroy")
    cloud.succeeds(lab, hook(lab))
    Path(lab.directory, "hostbin", "sudo").write_text(
        "#!/bin/bash\necho 'a password is required' >&2; exit 1\n"
    )
    assert "a password is required" in cloud.fails(lab, hook(lab))
    host = Command("hooks/storpool/nic_alias", (), b64encode(b"<HOST><ID>1</ID></HOST>"))
    assert "a HOST and no VM" in cloud.fails(lab, host, code=2)
