"""URLs of backups: the file of the very increment that was asked for."""

from __future__ import annotations

import pytest

from storpool_addon.datastore import backupurl

BASE = "/var/lib/one/datastores/110/42"


@pytest.mark.parametrize(
    ("url", "exact"),
    [
        (f"rsync://110//0:abc{BASE}/abc/disk.3.0", f"rsync://110//0:abc{BASE}/abc/disk.3.0"),
        (f"rsync://110//0:abc{BASE}/fed/disk.3.5", f"rsync://110//0:abc{BASE}/abc/disk.3.0"),
        (f"rsync://110/7/4:abc/{BASE}/fed/disk.3.9", f"rsync://110/7/4:abc/{BASE}/abc/disk.3.4"),
        (f"restic://110/7/0:abc{BASE}/backup/disk.3.5", f"restic://110/7/0:abc{BASE}/backup/disk.3.0"),
        (f"rsync://110//0:abc,1:fed{BASE}/fed/disk.3.1", f"rsync://110//0:abc,1:fed{BASE}/fed/disk.3.1"),
        ("rsync://110//0:abc/x/disk.tpm.0", "rsync://110//0:abc/x/disk.tpm.0"),
        ("https://example.org/0:abc/x/disk.0.5", "https://example.org/0:abc/x/disk.0.5"),
        ("rsync://", "rsync://"),
    ],
)
def test_a_chain_of_one_is_read_from_its_own_file(url: str, exact: str) -> None:
    assert backupurl.exact(url) == exact
    assert backupurl.exact(exact) == exact


def test_which_urls_are_of_backups() -> None:
    urls = ("rsync://a", "restic://a", "rsync+rbd://a", "s3://a", "rsyncs://a")
    assert [backupurl.is_of_backup(url) for url in urls] == [True, True, True, False, False]
