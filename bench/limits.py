"""How much each hot action may cost, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storpool_addon.lab.conductor import Call

# 170 ms where the interpreter alone takes 10 ms.
RATIO = 17.0
# An import moves bytes as fast as `qemu-img convert` alone, or nearly.
IMPORT_RATIO = 0.9
# A full backup: the same, with what comes before and after it.
BACKUP_RATIO = 0.85
# Of 200 MiB that changed on a disk of 20 GiB.
INCREMENT_MIB = 260
# A guest with eight disks stands still for its snapshot, from the freeze to the thaw.
FROZEN_MS = 1000.0
# All tweaks of a deployment on one domain, with their modules.
TWEAKS_MS = 60.0
# The process that starts a VM with all of them, without ssh and libvirt.
DEPLOY_MS = 250.0
# A report about all VMs of two disks with two snapshots each: VMs to seconds of CPU and MiB of memory.
REPORT = {10_000: (2.0, 100.0), 100_000: (25.0, 200.0)}
# A round of `collect`: StorPool's lists of templates and their space, of attachments, and of what all takes.
COLLECT_API = 5
# oned: its state, the datastores, what is told them, the empty page behind the last; other pages on top.
COLLECT_RPC = 6
# To find which of 20,000 volumes have other policies than they should, when one of a hundred has.
POLICIES_S = 3.0
# `monitor` as a process, with what was collected of 10,000 VMs.
MONITOR_MS = 150.0
# One answer to Prometheus about such a cloud.
SCRAPE_MS = 100.0
LOAD_S = 10.0
SINGLE_CALL_MS = 2.0

# API and RPC calls whose answer grows with the cluster or with the cloud.
LISTS = frozenset(
    {
        "AttachmentsList", "SnapshotsList", "SnapshotsRemoteList", "SnapshotsSpace", "VolumesList",
        "VolumesAndSnapshotsList", "VolumesGetStatus", "VolumesGetStatusQuick", "VolumesSpace",
        "one.datastorepool.info", "one.hostpool.info", "one.imagepool.info", "one.vmpool.info",
        "one.vmpool.infoextended",
    }
)  # fmt: skip


class Counts(NamedTuple):
    """What an action does outside itself. children: programs besides ssh."""

    api: int
    rpc: int
    ssh: int
    children: int = 0
    cluster_lists: int = 0

    @classmethod
    def of(cls, calls: Sequence[Call]) -> Counts:
        """The counts of the calls that the lab's conductor saw."""
        kinds = [call.kind for call in calls]
        lists = sum(call.what.split(" ")[0] in LISTS for call in calls)
        return cls(kinds.count("api"), kinds.count("rpc"), kinds.count("ssh"), kinds.count("child"), lists)

    def over(self, limit: Counts) -> list[str]:
        """The names of the counts that are over the limit."""
        return [name for name, count, most in zip(self._fields, self, limit) if count > most]


# One RPC for the VM and one for each datastore (the disk's, the system's); `ln` and `mvds` also ask for the
# image, whose QoS class counts. One StorPool call makes or finds the volume, one attaches or detaches.
CALLS = {
    "tm/clone": Counts(api=2, rpc=3, ssh=1),
    "tm/ln": Counts(api=3, rpc=4, ssh=1),
    "tm/mkimage": Counts(api=2, rpc=2, ssh=1),
    "tm/mkswap": Counts(api=2, rpc=2, ssh=1),
    # The ISO builder is the child.
    "tm/context": Counts(api=2, rpc=2, ssh=1, children=1),
    # Find, detach, keep a snapshot for DELAY_DELETE, delete.
    "tm/delete volatile": Counts(api=4, rpc=2, ssh=1),
    "tm/delete clone": Counts(api=4, rpc=2, ssh=1),
    "tm/delete persistent": Counts(api=3, rpc=2, ssh=1),
    "tm/delete directory": Counts(api=0, rpc=2, ssh=1),
    # Find, grow, wait until the client has the new size.
    "tm/resize": Counts(api=3, rpc=2, ssh=0),
    # One RPC more: the system datastore may set the limit. Is the volume ours? Then the snapshot.
    "tm/snap_create_live": Counts(api=2, rpc=3, ssh=0),
    "tm/snap_delete": Counts(api=2, rpc=2, ssh=0),
    # Snapshot, volume, detach, keep what it holds, revert, what the revert left, attach.
    "tm/snap_revert": Counts(api=7, rpc=2, ssh=1),
    "tm/mvds": Counts(api=3, rpc=3, ssh=1),
    # Looked at, claimed by a tag, attached.
    "tm/ln shared": Counts(api=3, rpc=3, ssh=1),
    # Looked at, detached, given up, and looked at again for what others have claimed meanwhile.
    "tm/mvds shared": Counts(api=4, rpc=2, ssh=1),
    # Is the disk ours? Then one clone.
    "tm/cpds": Counts(api=2, rpc=2, ssh=0),
    "tm/mv disk": Counts(api=2, rpc=2, ssh=1),
    # Copied from host to host, then removed.
    "tm/mv directory": Counts(api=0, rpc=2, ssh=2),
    # Each of the 8 volumes is looked at, all move in one call; the VM comes on standard input.
    "tm/premigrate": Counts(api=9, rpc=2, ssh=2),
    "tm/postmigrate": Counts(api=9, rpc=2, ssh=1),
    "tm/failmigrate": Counts(api=9, rpc=2, ssh=1),
    "tm/monitor": Counts(api=1, rpc=0, ssh=0),
    # oned gives image and datastore on standard input.
    "ds/mkfs": Counts(api=1, rpc=0, ssh=0),
    # oned keeps secrets from this one document, so the datastore is asked for once more.
    "ds/clone": Counts(api=2, rpc=1, ssh=0),
    # Is it still being written? Then as `delete`, and a copy that an interrupted `clone` left is looked for.
    "ds/rm": Counts(api=6, rpc=0, ssh=0),
    "ds/stat": Counts(api=0, rpc=0, ssh=0),
    # Looked for, made as unfinished, its global id, attached to the front-end, detached, marked as finished.
    "ds/cp": Counts(api=6, rpc=0, ssh=0),
    "ds/monitor": Counts(api=1, rpc=0, ssh=0),
}
