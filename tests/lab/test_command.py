"""What oned makes of a script's end."""

from __future__ import annotations

import base64

import pytest

from storpool_addon.lab.command import Command, Result, datastore_command, judged

CLONE = Command("tm/storpool/clone", ("a", "b"))


def ended(exit_code: int = 0, stdout: str = "", stderr: str = "") -> Result:
    return Result(exit_code, stdout, stderr, [], 0.0)


@pytest.mark.parametrize(
    ("script", "stdout", "is_taken"),
    [
        ("datastore/storpool/cp", "one-ds-1/one-img-1 raw\n", True),
        ("datastore/storpool/cp", "one-ds-1/one-img-1\n", False),
        ("datastore/storpool/cp", "one-ds-1/one-img-1 raw\nmore\n", False),
        ("datastore/storpool/clone", "one-ds-1/one-img-1\n", True),
        ("datastore/storpool/mkfs", "one-ds-1/one-img-1\n", True),
        ("datastore/storpool/mkfs", "one-ds-1/one-img-1 raw\n", False),
        ("datastore/storpool/stat", "17\n", True),
        ("datastore/storpool/stat", "17 MB\n", False),
        ("datastore/storpool/rm", "whatever", True),
        ("datastore/storpool/monitor", "USED_MB=1\nTOTAL_MB=2\nFREE_MB=1\n", True),
        ("tm/storpool/monitor", "USED_MB=1\nTOTAL_MB=2\nFREE_MB=1", True),
        ("tm/storpool/clone", "", True),
        ("tm/storpool/clone", "noise\n", False),
    ],
)
def test_the_answer_must_be_what_oned_reads(script: str, stdout: str, is_taken: bool) -> None:
    assert (judged(Command(script, ()), ended(stdout=stdout), "7.4") is None) == is_taken


@pytest.mark.parametrize(
    ("version", "stderr", "message"),
    [
        ("6.10", "first\nsecond\n", "first second"),
        ("7.4", "first\nsecond\n", "firstsecond"),
        ("7.4", "INFO: clone: starting\nvolume is gone\n", "volume is gone"),
        ("7.4", "WARNING: not a severity of oned\n", "WARNING: not a severity of oned"),
        ("7.4", "", "exit code 1"),
    ],
)
def test_the_message_is_what_a_person_reads(version: str, stderr: str, message: str) -> None:
    failure = judged(CLONE, ended(1, stderr=stderr), version)
    assert failure is not None
    assert failure.message == message
    assert "tm/storpool/clone a b" in str(failure)


def test_a_log_line_that_starts_with_a_number_is_laid_at_that_objects_door() -> None:
    assert ended(stderr="ERROR: 42 bytes are missing\nplain\n").log() == [
        ("ERROR", "42", "bytes are missing")
    ]


def test_a_datastore_script_gets_an_id_and_base64() -> None:
    command = datastore_command("storpool", "cp", 7, "<X/>")
    assert command.argv == ["/var/lib/one/remotes/datastore/storpool/cp", "7"]
    assert base64.b64decode(command.stdin) == b"<X/>"


def test_the_name_of_an_action_is_without_its_suffix() -> None:
    assert Command("tm/storpool/clone.ssh", ()).name == "clone"
