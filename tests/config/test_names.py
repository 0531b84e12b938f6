from __future__ import annotations

import pytest

from storpool_addon import names
from storpool_addon.errors import UsageError
from storpool_addon.names import Origin


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (names.template("one", 101), "one-ds-101"),
        (names.image("one", 7), "one-img-7"),
        (names.source("one", 101, 7), "one-ds-101/one-img-7"),
        (names.of_source("one-ds-101/one-img-7"), "one-img-7"),
        (names.of_source("my-ds.1-ds-1/my-ds.1-img-22"), "my-ds.1-img-22"),
        (names.vm_disk("one-img-7", 42, 0), "one-img-7-42-0"),
        (names.volatile("one", 42, 3), "one-sys-42-3-raw"),
        (names.volatile("one", 42, 4, swap=True), "one-sys-42-4-swap"),
        (names.context("one", 42, 5), "one-sys-42-5-iso"),
        (names.nvram("one", 42), "one-sys-42-NVRAM"),
        (names.tpm("one", 42), "one-sys-42-SWTPM"),
        (names.checkpoint("one", 42), "one-sys-42-rawcheckpoint"),
        (names.checkpoint_archive("one", 42), "one-sys-42-checkpoint"),
        (names.memory("one", 42), "one-sys-42"),
        (names.disk_snapshot("one-img-8", 1), "one-img-8-snap1"),
        (names.hypervisor_id("ONESNAP", 0, 1769009100), "ONESNAP-0-1769009100"),
        (names.vm_snapshot("one-img-8", "ONESNAP-0-1769009100"), "one-img-8-ONESNAP-0-1769009100"),
        (names.backup_snapshot("one-img-8", None), "one-img-8-ONEBACKUP-full"),
        (names.backup_snapshot("one-img-8", 4), "one-img-8-ONEBACKUP-even"),
        (names.backup_snapshot("one-img-8", 7), "one-img-8-ONEBACKUP-odd"),
        (names.backup_snapshot("one-img-8", 7, "42-0"), "one-img-8-ONEBACKUP-42-0-odd"),
        (names.export_snapshot("one-img-8", "a1B2c3"), "one-img-8-export-a1B2c3"),
        (names.reverted("one-img-8", "17-x"), "one-img-8-SPTMP-17-x"),
        (names.restored("one-img-8", "a1b2c3d4"), "one-img-8-tmRestorea1b2c3d4"),
        (names.deleted("one-img-8", "bm4u.b.1"), "one-img-8-deleted-bm4u.b.1"),
        # echo one-img-10 | md5sum
        (names.staging("one", 10), "one-img-10-22bad04bb6b2ba1ee22b03d2ac3c1b0b"),
    ],
)
def test_names_are_those_of_the_bash_addon(name: str, expected: str) -> None:
    if expected.startswith("one-img-10-"):
        import hashlib

        expected = "one-img-10-" + hashlib.md5(b"one-img-10\n").hexdigest()
    assert name == expected


def test_datastore_of_a_source() -> None:
    assert names.datastore_of_source("one-ds-101/one-img-7") == 101


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one-img-7",
        "one-ds-101/",
        "/one-img-7",
        "one-ds-101/one-img-7/",
        "one-ds-101/one-img-7-42-0",
        "one-ds-101/one-img-",
        "one-ds-x/one-img-7",
        "one-ds-101/two-img-7",
        "one-ds-101/one-img-7\n",
        "one-ds-101/../one-img-7",
        "a/one-ds-101/one-img-7",
        "one-ds-101/one-img-7;reboot",
        "one-ds-101/one-img-$(reboot)",
        "öne-ds-1/öne-img-7",
        "one-ds-1/one-img-\u0667",
        "-ds-1/-img-7",
        "https://host/image",
    ],
)
def test_what_is_not_a_source(text: str) -> None:
    with pytest.raises(UsageError, match="is not the SOURCE of an image") as caught:
        names.of_source(text)
    assert repr(text) in str(caught.value)
    with pytest.raises(UsageError):
        names.datastore_of_source(text)


@pytest.mark.parametrize("px", ["", "a b", "a/b", "a\n", "a'b", "$(x)", "é", "x" * 200])
def test_prefix_that_storpool_would_not_take(px: str) -> None:
    if px:
        with pytest.raises(UsageError, match="cannot be a name in StorPool"):
            names.image(px, 7)
    else:
        assert names.image(px, 7) == "-img-7"


@pytest.mark.parametrize("word", ["", "a b", "../x", "é"])
def test_hypervisor_id_that_cannot_be(word: str) -> None:
    if word:
        with pytest.raises(UsageError):
            names.vm_snapshot("one-img-8", word)


def test_length() -> None:
    assert len(names.image("x" * 193, 7)) == names.MAX_LENGTH
    with pytest.raises(UsageError, match="1 to 199"):
        names.image("x" * 194, 7)


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        (names.image("one", 7), Origin("image", image_id=7)),
        (names.vm_disk("one-img-7", 42, 0), Origin("disk", 7, 42, 0)),
        (names.volatile("one", 42, 3), Origin("raw", None, 42, 3)),
        (names.volatile("one", 42, 13, swap=True), Origin("swap", None, 42, 13)),
        (names.context("one", 42, 5), Origin("context", None, 42, 5)),
        (names.nvram("one", 42), Origin("nvram", None, 42)),
        (names.tpm("one", 42), Origin("tpm", None, 42)),
        (names.checkpoint("one", 42), Origin("checkpoint", None, 42)),
        (names.checkpoint_archive("one", 42), Origin("checkpoint-archive", None, 42)),
        (names.memory("one", 42), Origin("memory", None, 42)),
    ],
)
def test_volume_names_can_be_read_back(name: str, origin: Origin) -> None:
    assert names.parse("one", name) == origin


@pytest.mark.parametrize(
    "name",
    [
        "",
        "one",
        "one-img-7-snap0",
        "one-img-7-42",
        "one-img-7-42-0-x",
        "xone-img-7",
        "two-img-7",
        "one-img-7 ",
        "one-img-7\n",
        "one-sys-42-3-qcow2",
        "one-sys-x-NVRAM",
        "one-ds-101",
        "one-img-7-deleted-bm4u.b.1",
        "oneXimg-7",
    ],
)
def test_other_names_are_not_taken_for_ours(name: str) -> None:
    assert names.parse("one", name) is None


def test_prefix_is_text_and_no_pattern() -> None:
    assert names.parse("o.e", "one-img-7") is None
    assert names.parse("o.e", "o.e-img-7") == Origin("image", 7)


def test_one_prefix_that_begins_another() -> None:
    """`one` and `one-img-7` may share a cluster: the whole name decides."""
    assert names.parse("one-img-7", "one-img-7-img-3") == Origin("image", 3)
    assert names.parse("one", "one-img-7-img-3") is None
