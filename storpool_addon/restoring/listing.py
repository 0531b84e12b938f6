"""What is in a backup, as the driver of its datastore lists it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import StateError

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

TIMEOUT_S = 300.0
TPM = "tpm"
_URL = re.compile(r"[a-z][a-z0-9+]*://", re.ASCII)
_MAD = re.compile(r"[a-z0-9_][a-z0-9_.-]*", re.ASCII)


class Backup(NamedTuple):
    """A backup. disks: the URL of each disk, by id. tpm: that of the virtual TPM's state, "" for none."""

    image_id: int
    disks: dict[int, str]
    tpm: str


def read(driver: Driver, vm_id: int, image_id: int, increment: int) -> Backup:
    """Ask the driver of the backup's datastore. increment: -1 for the newest."""
    image = driver.one.image(image_id)
    if image.format.lower() == "rbd":
        raise StateError(f"backup {image_id} is in Ceph's own format, which StorPool cannot take")
    datastore = driver.one.datastore(image.datastore_id)
    mad = datastore.ds_mad.lower()
    if not _MAD.fullmatch(mad):
        raise StateError(f"datastore {datastore.id} has DS_MAD {datastore.ds_mad!r}; correct it")
    argv = [f"{driver.remotes}/datastore/{mad}/ls", "-i", str(increment)]
    what = f"listing backup {image_id} in datastore {datastore.id}"
    # The keys of the backup's server are in the document: it goes through standard input alone.
    document = _document(driver, vm_id, image_id, datastore.id)
    printed = driver.processes.run(argv, what=what, timeout_s=TIMEOUT_S, stdin=document)
    return _parsed(image_id, printed, what)


def _document(driver: Driver, vm_id: int, image_id: int, datastore_id: int) -> bytes:
    asked = (
        ("one.datastore.info", datastore_id, True),
        ("one.vm.info", vm_id, False),
        ("one.image.info", image_id, False),
    )
    parts = "".join(driver.one.call(method, number, decrypt) for method, number, decrypt in asked)
    return f"<DS_DRIVER_ACTION_DATA>{parts}</DS_DRIVER_ACTION_DATA>".encode()


def _parsed(image_id: int, printed: str, what: str) -> Backup:
    try:
        found = json.loads(printed)
        urls = {str(key): str(url) for key, url in found.items()}
    except (ValueError, AttributeError):
        raise StateError(f"{what} failed: its driver printed something else than JSON") from None
    for url in urls.values():
        if not _URL.match(url):
            raise StateError(f"{what} failed: {url[:200]!r} is not the URL of a backup")
    disks = {int(key): url for key, url in urls.items() if key.isascii() and key.isdigit()}
    return Backup(image_id, disks, urls.get(TPM, ""))
