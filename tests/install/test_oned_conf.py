"""What is said about OpenNebula's own configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from storpool_addon.installer import oned_conf
from tests.install.front import PROJECT, Front

DATA = PROJECT / "tests/data/oned"


def texts(name: str, remotes: Path) -> list[str]:
    return [advice.text for advice in oned_conf.advice(str(DATA / name), str(remotes))]


def test_shipped_configuration(tmp_path: Path) -> None:
    found = texts("shipped", tmp_path)
    assert found == [
        'ARGUMENTS = "-t 15 -d dummy,lvm,shared,fs_lvm,fs_lvm_ssh,qcow2,ssh,local,ceph,dev,iscsi_libvirt,'
        'netapp,purefa,storpool"',
        'ARGUMENTS = "-t 15 -d dummy,fs,lvm,ceph,dev,restic,rsync,storpool '
        '-s dummy,lvm,shared,ssh,local,ceph,storpool"',
        'TM_MAD_CONF = [ NAME = "storpool", LN_TARGET = "NONE", CLONE_TARGET = "SELF", SHARED = "YES", '
        'DS_MIGRATE = "YES", DRIVER = "raw", DISK_TYPE = "BLOCK", ALLOW_ORPHANS = "YES" ]',
        'DS_MAD_CONF = [ NAME = "storpool", REQUIRED_ATTRS = "", PERSISTENT_ONLY = "NO", '
        'MARKETPLACE_ACTIONS = "export" ]',
        'VM_RESTRICTED_ATTR = "VMSNAPSHOT_LIMIT"',
        'VM_RESTRICTED_ATTR = "DISKSNAPSHOT_LIMIT"',
        'VM_RESTRICTED_ATTR = "VC_POLICY"',
        'VM_RESTRICTED_ATTR = "SP_QOSCLASS"',
        'LIVE_DISK_SNAPSHOTS="kvm-qcow2 kvm-ceph kvm-shared qemu-qcow2 kvm-storpool"',
    ]


def test_ready_configuration(tmp_path: Path) -> None:
    assert texts("ready", tmp_path) == []


def test_following_the_advice_leaves_none(tmp_path: Path) -> None:
    """What is printed for the shipped configuration is put there; after that there is nothing more to say."""
    etc = tmp_path / "etc"
    shutil.copytree(DATA / "shipped", etc)
    conf = (etc / "oned.conf").read_text()
    for advice in oned_conf.advice(str(etc), str(tmp_path)):
        if advice.file.endswith("vmm_execrc"):
            (etc / "vmm_exec/vmm_execrc").write_text(advice.text + "\n")
        elif advice.text.startswith("ARGUMENTS"):
            old = next(
                line
                for line in conf.splitlines()
                if line.strip()[:9] == "ARGUMENTS" and same(line, advice.text)
            )
            conf = conf.replace(old, advice.text)
        else:
            conf += advice.text + "\n"
    (etc / "oned.conf").write_text(conf)
    assert oned_conf.advice(str(etc), str(tmp_path)) == []


def same(line: str, text: str) -> bool:
    return line.partition('"')[2][:16] == text.partition('"')[2][:16]


def test_configuration_of_another_addon(tmp_path: Path) -> None:
    scripts = tmp_path / "vmm/kvm"
    scripts.mkdir(parents=True)
    (scripts / "migrate").touch()
    (scripts / "attach_disk.storpool").touch()
    found = texts("bash-addon", tmp_path)
    assert found == [
        'ARGUMENTS = "-t 15 -d dummy,storpool -s dummy,storpool"',
        'CLONE_TARGET = "SELF"',
        'MARKETPLACE_ACTIONS = "export"',
        'KEEP_SNAPSHOTS = "yes"',
        "take deploy=deploy-tweaks out of -l",
        'VM_RESTRICTED_ATTR = "VMSNAPSHOT_LIMIT"',
        'VM_RESTRICTED_ATTR = "DISKSNAPSHOT_LIMIT"',
        'LIVE_DISK_SNAPSHOTS="kvm-storpool"',
    ]


def test_what_local_actions_bring_with_them(tmp_path: Path) -> None:
    scripts = tmp_path / "vmm/kvm"
    scripts.mkdir(parents=True)
    for name in ("deploy-tweaks", "tmsave"):
        (scripts / name).touch()
    local = "deploy=deploy-tweaks,save=tmsave"
    (tmp_path / "oned.conf").write_text(
        f'VM_MAD = [ NAME = "kvm", KEEP_SNAPSHOTS = "yes", ARGUMENTS = "-t 15 -l {local} kvm" ]\n'
    )
    found = [each.text for each in oned_conf.advice(str(tmp_path), str(tmp_path))]
    assert "add restore=tmrestore to -l" in found
    assert {f'VM_RESTRICTED_ATTR = "{name}"' for name in oned_conf.RESTRICTED_TWEAKS} <= set(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("# A = 1\n", []),
        ("a=1", [("A", "1")]),
        ('A = "x # [y]" # z', [("A", "x # [y]")]),
        (r'A = "say \"x\""', [("A", 'say "x"')]),
        ('A = [ B = 1, C = "2, 3" ]\nD = 4', [("A", {"B": "1", "C": "2, 3"}), ("D", "4")]),
        ("A = [\n  B = 1, # x\n  C = 2\n]", [("A", {"B": "1", "C": "2"})]),
        ("A = [ ]\nB = 1", [("A", {}), ("B", "1")]),
        ("A = [ B = 1", [("A", {"B": "1"})]),
        ("A 1 B = 2", [("B", "2")]),
        ("A =", []),
        ("A = 1\nA = 2", [("A", "1"), ("A", "2")]),
        ('A = "never closed', [("A", "never closed")]),
    ],
)
def test_grammar(text: str, found: list[tuple[str, oned_conf.Value]]) -> None:
    assert oned_conf.parse(text) == found


def test_installer_prints_the_advice(front: Front) -> None:
    shutil.copytree(DATA / "shipped", front.root / "etc/one")
    said = front.install()
    assert (
        f"{front.root}/etc/one/oned.conf: TM_MAD_CONF of storpool is missing; put:\n    TM_MAD_CONF = ["
        in said
    )
    assert "systemctl restart opennebula" in said
    before = (DATA / "shipped/oned.conf").read_bytes()
    assert (front.root / "etc/one/oned.conf").read_bytes() == before


def test_no_configuration_is_said(front: Front) -> None:
    assert "oned.conf was not checked" in front.install()
