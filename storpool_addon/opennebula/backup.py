"""What oned says about a backup: the VM, which backup of it this is, and how it is to be taken."""

from __future__ import annotations

from base64 import b64decode
from typing import NamedTuple

from storpool_addon.errors import UsageError
from storpool_addon.opennebula.location import checked_host
from storpool_addon.opennebula.vm import Vm
from storpool_addon.opennebula.xml import is_true

# The chain of the first increment: oned makes its image, whose id names the chain, when it has succeeded.
NEW_CHAIN = "new"
_END = b"</VM>"


class Backup(NamedTuple):
    """A backup that oned wants of a VM. document: `<VM>` as oned wrote it."""

    vm: Vm
    document: bytes

    @classmethod
    def parse(cls, document: bytes) -> Backup:
        """The backup in a `<VM>` on standard input; what a newer oned writes behind it is left out."""
        text = document.strip()
        if not text.startswith(b"<"):
            try:
                text = b64decode(text)
            except ValueError:
                raise UsageError("standard input is neither XML nor base64") from None
        if text.startswith(b"<VM>") and _END in text:
            text = text[: text.rindex(_END) + len(_END)]
        return cls(Vm.parse(text), text)

    @property
    def number(self) -> int | None:
        """Of the increment that this backup is, from 0; None for a full backup."""
        mode = self.vm.backup.get("MODE", "FULL").upper()
        if mode == "FULL":
            return None
        if mode != "INCREMENT":
            raise UsageError(f"VM {self.vm.id}: backup MODE {mode[:80]!r} is neither FULL nor INCREMENT")
        return self._number("LAST_INCREMENT_ID") + 1

    @property
    def chain(self) -> str:
        """What names the increments that belong together."""
        return str(self._number("INCREMENTAL_BACKUP_ID")) if self.number else NEW_CHAIN

    @property
    def base_chain(self) -> str:
        """The chain of the increment before this one, as it was named then."""
        return NEW_CHAIN if self.number == 1 else self.chain

    @property
    def freeze(self) -> str:
        """How the guest is to be held while its snapshots are taken: "agent", "suspend" or ""."""
        word = self.vm.backup.get("FS_FREEZE", "").lower()
        return word if word in ("agent", "suspend") else ""

    @property
    def bridge(self) -> str:
        """The host that writes the files, "" for the VM's own."""
        name = self.vm.backup.get("LAST_BRIDGE", "")
        try:
            return name and checked_host(name)
        except ValueError as error:
            raise UsageError(f"VM {self.vm.id}: LAST_BRIDGE: {error}") from None

    @property
    def datastore_id(self) -> int:
        """The datastore that will keep it, -1 when oned does not say."""
        return self._number("LAST_DATASTORE_ID")

    @property
    def interactive(self) -> bool:
        """Whether somebody else is to read the disks over the network."""
        return is_true(self.vm.backup.get("INTERACTIVE", ""))

    def _number(self, name: str) -> int:
        text = self.vm.backup.get(name, "") or "-1"
        try:
            return max(int(text), -1)
        except ValueError:
            raise UsageError(f"VM {self.vm.id}: {name} {text[:80]!r} is not a whole number") from None


def may_have_snapshots(vm: Vm) -> bool:
    """Whether a backup of the VM was ever begun."""
    traces = ("LAST_DATASTORE_ID", "LAST_INCREMENT_ID", "INCREMENTAL_BACKUP_ID", "LAST_BACKUP_ID")
    return bool(vm.backup_ids) or any(vm.backup.get(name, "-1") not in ("", "-1") for name in traces)
