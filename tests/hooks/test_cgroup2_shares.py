"""The libvirt hook that makes weights of cgroup v2 of shares of cgroup v1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).resolve().parents[2] / "examples" / "libvirt" / "cgroup2-shares"
DOMAIN = (
    "<?xml version='1.0'?>\n<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
    "  <metadata><m:a xmlns:m='urn:m'><cputune><shares>99999</shares></cputune></m:a></metadata>\n"
    "  <name>one-42 — é</name>\n  <cputune >\n    <shares>%s</shares>\n  </cputune>\n"
    "  <qemu:commandline><qemu:arg value='a>b'/></qemu:commandline>\n</domain>\n"
)


def run(document: str, cgroup2: Path = HOOK) -> tuple[int, str, str]:
    """The hook as libvirt calls it. cgroup2: a file that only hosts with cgroup v2 have."""
    argv = [sys.executable, "-I", str(HOOK), "one-42", "migrate", "begin", "-"]
    done = subprocess.run(
        argv,
        input=document.encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "CGROUP2_FILE": str(cgroup2)},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        ("16384", "1600"), ("10241", "1100"), ("10000", "10000"), ("1024", "1024"), ("262144", "10000"),
        ("x", "x"), ("", ""), ("-5", "-5"), (" 20480 ", "2000"),
    ],
)  # fmt: skip
def test_only_the_number_changes(shares: str, weight: str) -> None:
    assert run(DOMAIN % shares) == (0, DOMAIN % weight, "")


def test_what_is_left_as_it_is(tmp_path: Path) -> None:
    assert run(DOMAIN % "16384", tmp_path / "cgroup-v1") == (0, DOMAIN % "16384", "")
    for document in ("", "<domain>", "<domain/>", "<domain><cputune><shares/></cputune></domain>"):
        code, out, _ = run(document)
        assert (code, out) == (0, document)
    laughs = "".join(f"<!ENTITY e{at} '{f'&e{at - 1};' * 9}'>" for at in range(1, 9))
    for document in (
        "<domain><cputune><shares>16384</shares>",
        f"<!DOCTYPE domain [<!ENTITY e0 '16384'>{laughs}]>"
        "<domain><cputune><shares>&e8;</shares></cputune></domain>",
        "<domain><cputune><shares>16384</shares></cputune></domain>\0",
    ):
        code, out, error = run(document)
        assert (code, out) == (0, document) and error.count("\n") == 1
    for document in (
        DOMAIN % ("9" * 5000),
        DOMAIN % "1638<!-- -->4",
        "<domain><cputune a='>'><shares b='>'>16384</shares></cputune></domain>",
    ):
        assert run(document)[:2] == (0, document)
    code, out, _ = run("<domain><cputune><shares>16384</shares><shares>20480</shares></cputune></domain>")
    assert (code, out) == (
        0,
        "<domain><cputune><shares>1600</shares><shares>20480</shares></cputune></domain>",
    )
