"""`deleted` lists the disks that delayed delete still keeps, `undelete` makes a volume of one again."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TextIO

from storpool_addon.cli.table import print_table
from storpool_addon.config import Config
from storpool_addon.errors import StateError
from storpool_addon.storpool import Api, Snapshot

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from storpool_addon.driver import Driver


class Kept(NamedTuple):
    """A deleted disk. volume: its old name. vm, image: what the name says it belonged to, None if unknown."""

    volume: str
    snapshot: str
    size: int
    vm: str
    expires: int

    def row(self, now: float) -> tuple[str, ...]:
        """Cells for a person."""
        left_h = max(0.0, self.expires - now) / 3600
        return (
            self.volume,
            self.vm or "-",
            f"{self.size / (1 << 30):.1f} GiB",
            f"{left_h:.1f} h",
            self.snapshot,
        )


_TITLES = ("VOLUME", "VM", "SIZE", "KEPT FOR", "SNAPSHOT")


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare both subcommands."""
    show = commands.add_parser("deleted", help="list the disks that delayed delete still keeps")
    show.add_argument("--json", action="store_true", help="print JSON")
    back = commands.add_parser("undelete", help="make a volume again of a deleted disk")
    back.add_argument("volume", help="the old name of the volume, or the snapshot that keeps it")
    back.add_argument("--as", dest="new_name", metavar="NAME", help="name of the new volume (the old one)")
    for each in (show, back):
        each.add_argument("--datastore", type=int, metavar="ID", help="the cluster of this datastore")


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out `deleted` or `undelete`."""
    datastore = driver.one.datastore(arguments.datastore) if arguments.datastore is not None else None
    api = driver.storpool(datastore)
    kept = sorted(_kept(api, driver.config))
    if arguments.command == "undelete":
        volume = _undelete(api, driver.config, kept, arguments.volume, arguments.new_name)
        out.write(f"{volume}\n")
    elif arguments.json:
        out.write(json.dumps([each._asdict() for each in kept], indent=2) + "\n")
    else:
        print_table([_TITLES, *(each.row(time.time()) for each in kept)], out)


def _kept(api: Api, config: Config) -> Iterator[Kept]:
    for snapshot in api.snapshots_list():
        volume = snapshot.tags.get(config.deleted_tag, "")
        if volume and snapshot.tags.get(config.loc_tag) == config.loc_tag_val and not snapshot.deleted:
            yield Kept(
                volume, snapshot.name, snapshot.size, _vm(snapshot, config), snapshot.target_delete_date or 0
            )


def _vm(snapshot: Snapshot, config: Config) -> str:
    return snapshot.tags.get(config.vm_tag, "")


def _undelete(api: Api, config: Config, kept: list[Kept], wanted: str, new_name: str | None) -> str:
    found = [each for each in kept if wanted in (each.volume, each.snapshot)]
    if not found:
        raise StateError(f"no deleted disk {wanted} is kept; `storpool-addon deleted` lists those that are")
    newest = max(found, key=lambda each: each.expires)
    name = new_name or newest.volume
    snapshot = api.snapshot(newest.snapshot)
    own = {key: value for key, value in snapshot.tags.items() if key != config.deleted_tag}
    api.volume_create(name, parent=newest.snapshot, tags=own)
    return name
