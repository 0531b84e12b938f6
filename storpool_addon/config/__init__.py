"""The site's configuration: every key, its default, and what files, datastores and VMs say instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from storpool_addon.config.devices import Devices
from storpool_addon.config.fencing import Fencing
from storpool_addon.config.firmware import Firmware
from storpool_addon.config.images import Export, Import
from storpool_addon.config.key import DATASTORE, VM, Given, keys_of
from storpool_addon.config.monitoring import HostTools, Logging, Monitoring
from storpool_addon.config.storage import Disks, Naming, OpenNebulaAccess, StorPoolAccess
from storpool_addon.config.system import Backups, Qos, Snapshots, SystemDatastore
from storpool_addon.config.tweaks import Migration, Tweaks
from storpool_addon.config.vmtweaks import VmTweaks

SECTIONS: tuple[type, ...] = (
    Naming,
    OpenNebulaAccess,
    StorPoolAccess,
    Disks,
    Import,
    Export,
    SystemDatastore,
    Snapshots,
    Backups,
    Qos,
    Monitoring,
    HostTools,
    Fencing,
    Tweaks,
    Devices,
    VmTweaks,
    Firmware,
    Migration,
    Logging,
)


class Overriding(Protocol):
    """A datastore or a VM: what carries attributes named like keys."""

    @property
    def id(self) -> int:
        """OpenNebula's id."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """By OpenNebula's names."""


class Config(
    Naming,
    OpenNebulaAccess,
    StorPoolAccess,
    Disks,
    Import,
    Export,
    SystemDatastore,
    Snapshots,
    Backups,
    Qos,
    Monitoring,
    HostTools,
    Fencing,
    Tweaks,
    Devices,
    VmTweaks,
    Firmware,
    Migration,
    Logging,
):
    """What is configured; never changed, only overlaid.

    An attribute whose text is not allowed raises ConfigError when it is read, with where it was written. What
    files say is checked when they are loaded; an attribute of a VM that nobody reads does no harm.

    notes: what a person should know about the files: unknown and obsolete keys.
    """

    __slots__ = ("_fs_options", "_given", "notes")

    def __init__(
        self,
        given: Mapping[str, Given] | None = None,
        fs_options: Mapping[str, str] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._given = dict(given or {})
        self._fs_options = dict(fs_options or {})
        self.notes = notes

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Config:
        """What the site's files say. environ: ONE_LOCATION is looked at; ConfigError names file and line."""
        from storpool_addon.config.files import load

        return load(environ)

    def given(self, name: str) -> Given | None:
        """What was written for a key, None when nothing was."""
        return self._given.get(name)

    def for_datastore(self, datastore: Overriding) -> Config:
        """With what a datastore overrides."""
        return self._overlaid(DATASTORE, datastore)

    def for_vm(self, vm: Overriding) -> Config:
        """With what a VM overrides."""
        return self._overlaid(VM, vm)

    def _overlaid(self, scope: str, by: Overriding) -> Config:
        where = f"{scope} {by.id}"
        found = {
            name: Given(by.attributes[name], where) for name in _OVERRIDES[scope] if by.attributes.get(name)
        }
        return Config({**self._given, **found}, self._fs_options, self.notes) if found else self

    @property
    def loc_tag_val(self) -> str:
        """The value of the tag that says that a volume is ours."""
        return self.own_loc_tag_val or self.one_px

    @property
    def identity_tags(self) -> tuple[str, ...]:
        """Keys of the tags that say whose a volume is: two that differ in one are not the same volume."""
        return ("virt", self.loc_tag, self.vm_tag, "diskid")

    @property
    def deleted_tag(self) -> str:
        """Key of the tag of a snapshot that delayed delete keeps; it holds the name of the deleted volume."""
        return "deleted"

    def fs_options(self, filesystem: str) -> tuple[str, ...]:
        """Options for mkfs of a file system: FS_OPTS_<filesystem>."""
        return tuple(self._fs_options.get(filesystem, "").split())


KEYS = keys_of(Config)
_OVERRIDES = {
    scope: tuple(name for name, each in KEYS.items() if scope in each.scopes) for scope in (DATASTORE, VM)
}
