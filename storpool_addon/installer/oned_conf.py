"""What OpenNebula's own configuration needs for the driver, and the exact text where it is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Union

# One assignment of oned.conf: NAME = "text" | word | [ NAME = value, … ]; the grammar of oned's templates.
_TOKEN = re.compile(r'\s+|#[^\n]*|(?P<word>[^\s\[\]=,"#]+)|"(?P<text>(?:[^"\\]|\\.)*)"?|(?P<mark>[\[\]=,])')

DRIVER = "storpool"
TM_MAD_CONF = {
    "NAME": DRIVER, "LN_TARGET": "NONE", "CLONE_TARGET": "SELF", "SHARED": "YES", "DS_MIGRATE": "YES",
    "DRIVER": "raw", "DISK_TYPE": "BLOCK", "ALLOW_ORPHANS": "YES",
}  # fmt: skip
DS_MAD_CONF = {"NAME": DRIVER, "REQUIRED_ATTRS": "", "PERSISTENT_ONLY": "NO", "MARKETPLACE_ACTIONS": "export"}
# A site may well choose the others: DISK_TYPE comes from the datastore too, REQUIRED_ATTRS is taste.
# The bash addon's autoconf leaves MARKETPLACE_ACTIONS empty, and oned then exports no image.
_MANDATORY = (
    *("LN_TARGET", "CLONE_TARGET", "SHARED", "DS_MIGRATE", "DRIVER", "ALLOW_ORPHANS"),
    "MARKETPLACE_ACTIONS",
)
# What a tenant could otherwise set on a VM to get round the operator's limits.
RESTRICTED = ("VMSNAPSHOT_LIMIT", "DISKSNAPSHOT_LIMIT", "VC_POLICY", "SP_QOSCLASS")

# The same where tweaks of domains are in use: files of hosts that QEMU opens, shares of their CPUs, and the
# UUID, by which OpenNebula's scripts end and move a domain, and the state of a TPM is kept.
RESTRICTED_TWEAKS = (
    "T_OS_LOADER", "T_OS_NVRAM", "T_CPUTUNE_MUL", "T_CPUTUNE_SHARES", "T_CPUTUNE_PERIOD", "T_CPUTUNE_QUOTA",
    "T_CPUTUNE_GLOBAL_PERIOD", "T_CPUTUNE_GLOBAL_QUOTA", "T_CPUTUNE_EMULATOR_PERIOD",
    "T_CPUTUNE_EMULATOR_QUOTA", "T_CPUTUNE_IOTHREAD_PERIOD", "T_CPUTUNE_IOTHREAD_QUOTA",
    "T_CPUTUNE_SHARES_KEEP", "T_VCPU_MAX", "T_MEMORY_MAX", "T_VF_MACS", "T_UUID",
)  # fmt: skip
# Local actions of which one without the other loses something: memory on a volume is found by ours alone.
_PAIRS = (("save=tmsave", "restore=tmrestore"), ("restore=tmrestore", "save=tmsave"))

Vector = dict[str, str]
Value = Union[str, Vector]


class Advice(NamedTuple):
    """One thing to change: the file, why, and the text to have there."""

    file: str
    why: str
    text: str


def parse(text: str) -> list[tuple[str, Value]]:
    """The assignments of oned.conf in their order, names in capitals; what does not parse is skipped."""
    tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup]
    found: list[tuple[str, Value]] = []
    at = 0
    while at + 2 < len(tokens):
        if tokens[at].lastgroup != "word" or tokens[at + 1].group() != "=":
            at += 1
            continue
        name, at = tokens[at].group().upper(), at + 2
        if tokens[at].group() == "[":
            end = next((i for i in range(at, len(tokens)) if tokens[i].group() == "]"), len(tokens))
            found.append((name, _vector(tokens[at + 1 : end])))
            at = end + 1
        else:
            found.append((name, _plain(tokens[at])))
            at += 1
    return found


def advice(etc: str, remotes: str) -> list[Advice]:
    """What is missing in the configuration in directory `etc`; OSError when oned.conf cannot be read.

    remotes: where the scripts are that the configuration may name.
    """
    path = os.path.join(etc, "oned.conf")
    with open(path, encoding="utf-8", errors="replace") as opened:
        settings = parse(opened.read())
    found = [Advice(path, why, text) for why, text in _of_oned(settings, os.path.join(remotes, "vmm/kvm"))]
    return found + list(_of_vmm(os.path.join(etc, "vmm_exec", "vmm_execrc")))


def _of_oned(settings: list[tuple[str, Value]], scripts: str) -> Iterator[tuple[str, str]]:
    yield from _flags(settings, "TM_MAD", ("-d",))
    yield from _flags(settings, "DATASTORE_MAD", ("-d", "-s"))
    yield from _conf(settings, "TM_MAD_CONF", TM_MAD_CONF)
    yield from _conf(settings, "DS_MAD_CONF", DS_MAD_CONF)
    yield from _kvm(settings, scripts)
    restricted = {
        value for name, value in settings if name == "VM_RESTRICTED_ATTR" and isinstance(value, str)
    }
    local_actions = [_local(v) for n, v in settings if n == "VM_MAD" and isinstance(v, dict)]
    named = any("deploy=deploy-tweaks" in each for each in local_actions)
    tweaks = named and os.path.exists(os.path.join(scripts, "deploy-tweaks"))
    for name in (*RESTRICTED, *(RESTRICTED_TWEAKS if tweaks else ())):
        if name not in restricted:
            yield f"a user could set {name} on a VM", f'VM_RESTRICTED_ATTR = "{name}"'


def _flags(settings: list[tuple[str, Value]], name: str, flags: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The driver in the comma lists after the flags; a flag that is not given allows every driver."""
    arguments = next(
        (v["ARGUMENTS"] for n, v in settings if n == name and isinstance(v, dict) and "ARGUMENTS" in v), None
    )
    if arguments is None:
        yield (
            f"{name} has no ARGUMENTS",
            f'{name} = [ …, ARGUMENTS = "-t 15 {" ".join(f"{f} …,{DRIVER}" for f in flags)}" ]',
        )
        return
    words = arguments.split()
    lacking = []
    for at, word in enumerate(words[:-1]):
        if word in flags and DRIVER not in words[at + 1].split(","):
            lacking.append(word)
            words[at + 1] += f",{DRIVER}"
    if lacking:
        yield (
            f"{name} does not have {DRIVER} in the list after {' and '.join(lacking)}",
            f'ARGUMENTS = "{" ".join(words)}"',
        )


def _conf(
    settings: list[tuple[str, Value]], name: str, wanted: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    own = [v for n, v in settings if n == name and isinstance(v, dict) and v.get("NAME") == DRIVER]
    if not own:
        pairs = ", ".join(f'{key} = "{value}"' for key, value in wanted.items())
        yield f"{name} of {DRIVER} is missing", f"{name} = [ {pairs} ]"
        return
    for key in _MANDATORY:
        if key in wanted and own[-1].get(key, "").upper() != wanted[key].upper():
            yield f'{name} of {DRIVER} has {key} = "{own[-1].get(key, "")}"', f'{key} = "{wanted[key]}"'


def _kvm(settings: list[tuple[str, Value]], scripts: str) -> Iterator[tuple[str, str]]:
    for name, value in settings:
        if name != "VM_MAD" or not isinstance(value, dict) or value.get("NAME") != "kvm":
            continue
        if value.get("KEEP_SNAPSHOTS", "").upper() != "YES":
            yield "a VM would lose its snapshots when it is stopped", 'KEEP_SNAPSHOTS = "yes"'
        local_actions = _local(value)
        for one, other in _PAIRS:
            if one in local_actions and other not in local_actions:
                yield f"VM_MAD kvm has {one} in -l and not {other}", f"add {other} to -l"
        for local in local_actions:
            script = local.partition("=")[2] or local
            if not os.path.exists(os.path.join(scripts, script)):
                yield (
                    f"VM_MAD kvm names a script that is not in {scripts}: {script}",
                    f"take {local} out of -l",
                )


def _local(vm_mad: Vector) -> list[str]:
    """The `action=script` after -l."""
    words = vm_mad.get("ARGUMENTS", "").split()
    return words[words.index("-l") + 1].split(",") if "-l" in words[:-1] else []


def _of_vmm(path: str) -> Iterator[Advice]:
    try:
        with open(path, encoding="utf-8", errors="replace") as opened:
            text = opened.read()
    except FileNotFoundError:
        text = ""
    names = re.findall(r"^\s*LIVE_DISK_SNAPSHOTS\s*=\s*[\"']?([^\"'\n#]*)", text, re.MULTILINE)
    now = names[-1].split() if names else []
    if f"kvm-{DRIVER}" not in now:
        wanted = " ".join([*now, f"kvm-{DRIVER}"])
        yield Advice(path, "disks of running VMs could not be snapshotted", f'LIVE_DISK_SNAPSHOTS="{wanted}"')


def _vector(tokens: list[re.Match[str]]) -> Vector:
    found: Vector = {}
    for at in range(len(tokens) - 2):
        if tokens[at].lastgroup == "word" and tokens[at + 1].group() == "=" and tokens[at + 2].group() != ",":
            found[tokens[at].group().upper()] = _plain(tokens[at + 2])
    return found


def _plain(token: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", token["text"]) if token.lastgroup == "text" else token.group()
