"""I3: a volume that has the very name of ours, and is another OpenNebula's, is left alone by every action."""

from __future__ import annotations

from functools import partial

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.simulator.records import Volume
from tests.sweep import picture, scene
from tests.sweep.engine import Place
from tests.sweep.ground import Ground
from tests.sweep.row import Row
from tests.sweep.test_sweep import BY_NAME

# These make the volume of the name given, which is there already.
MAKE = {
    "clone": "one-img-7-42-0", "clone-grown": "one-img-7-42-0", "ln-cdrom": "one-img-7-42-0",
    "mkimage": "one-sys-42-0-raw", "mkimage-ext4": "one-sys-42-0-raw", "mkswap": "one-sys-42-0-swap",
    "context": "one-sys-42-0-iso", "cp-raw": "one-img-7", "cp-qcow2": "one-img-7", "cp-http": "one-img-7",
    "mkfs": "one-img-7", "mkfs-ext4": "one-img-7", "image-clone": "one-img-8",
    "presave": "one-sys-42-rawcheckpoint", "context-nvram": "one-sys-42-NVRAM",
    "mv-directory-10-state": "one-sys-42-SWTPM", "tmsave": "one-sys-42-rawcheckpoint",
}  # fmt: skip
# These touch no volume, or (the step of a move that is for the directory) those that are found and ours.
OTHERS = {"stat", "mkfs-save-as", "ds-monitor", "tm-monitor", "image-clone-across", "deploy-tweaks"}
CLEAN_UPS = {"postsave", "postrestore"}
ROWS = [row for name, row in BY_NAME.items() if name not in OTHERS and not name.endswith("-by-ssh")]


def given_away(row: Row, lab: Ground) -> Command:
    """The row's world, in which all that the action is about belongs to another instance."""
    command = row.prepare(lab)
    if row.name in MAKE:
        scene.volume(lab, MAKE[row.name], scene.THEIRS)
        return command
    for each in list(lab.simulator.cluster.table(Volume).values()):
        if not (each.auto_name or each.transient):
            kind = "Snapshot" if each.snapshot else "Volume"
            lab.storpool(f"{kind}Update/{each.title}", {"tags": scene.THEIRS})
    return command


@pytest.mark.parametrize("name", [row.case for row in ROWS])
def test_a_stranger_of_the_same_name_is_left_alone(name: str, place: Place) -> None:
    row = BY_NAME[name]
    with place.world(row._replace(prepare=partial(given_away, row))) as there:
        result = there.run()
        # A clean-up that nobody waits for says it in the log alone.
        quiet = row.name in CLEAN_UPS
        assert result.exit_code == (0 if quiet else 1), result
        assert quiet or ("not ours" in result.stderr and result.stderr.count("\n") == 1)
        left = picture.difference(
            picture.without_hosts(there.before), picture.without_hosts(picture.take(there.lab))
        )
        assert not left, "\n".join(left)
