"""Actions of backup datastores, which StorPool's are not: the scripts exist so that users read why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.errors import StateError
from storpool_addon.opennebula.protocol import Many, protocol, text

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_anything = protocol(words=Many(text), stdin=("document", bytes))


@_anything
def backup(driver: Driver, words: list[str], document: bytes) -> None:
    """Refuse to keep a backup."""
    raise StateError("backup: operation not supported; choose a backup datastore (rsync or restic)")


@_anything
def restore(driver: Driver, words: list[str], document: bytes) -> None:
    """Refuse to restore from here."""
    raise StateError("restore: operation not supported; backups are kept in backup datastores")
