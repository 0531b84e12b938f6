"""A virtual machine as the lab's oned keeps it: disks in their wire form, history, states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from storpool_addon.lab.chain import Chain
from storpool_addon.lab.documents import Value, cdata, element, elements, owned, permissions, template
from storpool_addon.lab.objects import ALICE, Datastore, Image

PENDING, ACTIVE, STOPPED, SUSPENDED, DONE, POWEROFF, UNDEPLOYED = 1, 3, 4, 5, 6, 8, 9
# The LCM state of one that is ACTIVE and at rest.
RUNNING = 3


class Volatile(NamedTuple):
    """A disk without an image. kind: "fs" or "swap"; fs: the file system to make, if any."""

    size_mib: int
    kind: str = "fs"
    fs: str = ""


@dataclass
class Record:
    """One history record: a stay on a host."""

    seq: int
    host: str
    host_id: int
    system: Datastore
    action: int = 0
    stopped: int = 0

    def document(self, vm_id: int, version: str) -> str:
        """`<HISTORY>`."""
        plan = {} if version.startswith("6") else {"PLAN_ID": -1, "ACTION_ID": -1}
        return element(
            "HISTORY",
            elements(
                OID=vm_id,
                SEQ=self.seq,
                HOSTNAME=self.host,
                HID=self.host_id,
                CID=0,
                STIME=1769001000,
                ETIME=0,
            ),
            cdata("VM_MAD", "kvm") + cdata("TM_MAD", self.system.tm_mad),
            elements(
                DS_ID=self.system.id,
                **plan,
                PSTIME=0,
                PETIME=0,
                RSTIME=0,
                RETIME=self.stopped,
                ESTIME=0,
                EETIME=0,
            ),
            elements(ACTION=self.action, UID=2, GID=1, REQUEST_ID=4512),
        )


@dataclass
class Vm:
    """A VM.

    disks: by id, each the attributes of its DISK. context: those of CONTEXT, None without one. backup: of
    BACKUP_CONFIG. chains: the snapshots of disks that have some, by the disk's id. is_saved: its
    memory waits in a file. resched: the scheduler is to move it.
    """

    id: int
    name: str
    disks: dict[int, dict[str, str]]
    context: dict[str, str] | None = None
    attributes: dict[str, Value] = field(default_factory=dict)
    user_attributes: dict[str, Value] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)
    state: int = PENDING
    lcm_state: int = 0
    deploy_id: str = ""
    next_disk: int = 0
    backup: dict[str, Value] = field(default_factory=dict)
    backup_ids: list[int] = field(default_factory=list)
    chains: dict[int, Chain] = field(default_factory=dict)
    snapshots: list[dict[str, str]] = field(default_factory=list)
    is_saved: bool = False
    snapshots_asked: int = 0
    resched: bool = False

    @property
    def here(self) -> Record:
        """The last history record."""
        return self.history[-1]

    @property
    def home(self) -> str:
        """The VM's directory on its host, with oned's double slash."""
        return self.home_in(self.here.system)

    def home_in(self, system: Datastore) -> str:
        """The VM's directory in a system datastore."""
        return f"{system.path}/{self.id}"

    def rest(self, before: int) -> None:
        """What was done to it is over. before: the state that it had."""
        self.state, self.lcm_state = before, RUNNING if before == ACTIVE else 0

    def document(self, version: str, *, whole_history: bool = True) -> str:
        """`<VM>`; action data hold the last history record only."""
        records = self.history if whole_history else self.history[-1:]
        states = elements(
            LAST_POLL=1769009000, STATE=self.state, LCM_STATE=self.lcm_state, PREV_STATE=self.state,
            PREV_LCM_STATE=self.lcm_state, RESCHED=0, STIME=1769000900, ETIME=0, DEPLOY_ID=self.deploy_id,
        )  # fmt: skip
        return element(
            "VM",
            owned(self.id, self.name, ALICE)
            + permissions()
            + states
            + elements(MONITORING="", SCHED_ACTIONS=""),
            template("TEMPLATE", self._template()) + template("USER_TEMPLATE", self.user_attributes),
            element("HISTORY_RECORDS", *(each.document(self.id, version) for each in records)),
            *(chain.document(disk_id) for disk_id, chain in self.chains.items()),
            element(
                "BACKUPS",
                template("BACKUP_CONFIG", self.backup),
                element("BACKUP_IDS", *(element("ID", each) for each in self.backup_ids)),
            ),
        )

    def action_data(self, version: str, **fields: str) -> str:
        """What the VM driver's scripts read (VirtualMachineManager::format_message)."""
        known = {
            "HOST": self.here.host, "MIGR_HOST": "", "DEPLOY_ID": self.deploy_id, "LOCAL_DEPLOYMENT_FILE": "",
            "REMOTE_DEPLOYMENT_FILE": "", "CHECKPOINT_FILE": "", "TM_COMMAND": "", "TM_COMMAND_ROLLBACK": "",
            "DISK_TARGET_PATH": "",
        }  # fmt: skip
        return element(
            "VMM_DRIVER_ACTION_DATA",
            elements(**{**known, **fields}),
            self.document(version, whole_history=False),
            self.here.system.document(),
        )

    def _template(self) -> dict[str, Value]:
        values: dict[str, Value] = {"CPU": "1", "MEMORY": "128", "VMID": str(self.id), **self.attributes}
        values["DISK"] = list(self.disks.values())
        if self.snapshots:
            values["SNAPSHOT"] = self.snapshots
        return values if self.context is None else {**values, "CONTEXT": self.context}


def image_disk(disk_id: int, image: Image) -> dict[str, str]:
    """The DISK of an image, as oned writes it when a VM takes the image."""
    datastore, cdrom = image.datastore, image.type == "CDROM"
    kind = image.attributes.get("PERSISTENT_TYPE", "").upper()
    read = cdrom or kind == "IMMUTABLE"
    prefix = image.attributes.get("DEV_PREFIX", "sd" if cdrom else "vd")
    clone, save = not image.persistent and not read, image.persistent and not read
    disk = {
        "ALLOW_ORPHANS": "YES", "CLONE": _flag(clone), "CLONE_TARGET": "SELF", "CLUSTER_ID": "0",
        "DATASTORE": datastore.name, "DATASTORE_ID": str(datastore.id), "DEV_PREFIX": prefix,
        "DISK_ID": str(disk_id), "DISK_SNAPSHOT_TOTAL_SIZE": "0", "DISK_TYPE": "BLOCK",
        "DRIVER": image.format, "FORMAT": image.format,
        "IMAGE": image.name, "IMAGE_ID": str(image.id), "LN_TARGET": "NONE",
        "IMAGE_STATE": str(image.states_in_use), "ORIGINAL_SIZE": str(image.size_mib),
        "READONLY": _flag(read), "SAVE": _flag(save),
        "SIZE": str(image.size_mib), "SOURCE": image.source,
        "TARGET": _target(disk_id, prefix), "TM_MAD": datastore.tm_mad, "TYPE": "CDROM" if cdrom else "BLOCK",
    }  # fmt: skip
    if save:
        disk["PERSISTENT"] = "YES"
    if save and kind == "SHAREABLE" and image.format == "raw":
        disk["SHAREABLE"] = "YES"
    return disk


def volatile_disk(disk_id: int, volatile: Volatile) -> dict[str, str]:
    """The DISK of a volatile one: no image, no CLONE, no SAVE; the system datastore comes at deployment."""
    disk = {
        "ALLOW_ORPHANS": "YES", "CLUSTER_ID": "0", "DEV_PREFIX": "vd", "DISK_ID": str(disk_id),
        "DRIVER": "raw", "FORMAT": "raw", "SIZE": str(volatile.size_mib),
        "TARGET": _target(disk_id), "TYPE": volatile.kind,
    }  # fmt: skip
    return {**disk, "FS": volatile.fs} if volatile.fs else disk


def is_volatile(disk: dict[str, str]) -> bool:
    """Whether a DISK has no image."""
    return disk["TYPE"].lower() in ("fs", "swap")


def give_system_datastore(disk: dict[str, str], system: Datastore) -> None:
    """At deployment a volatile disk takes its place in the system datastore."""
    disk.update(DATASTORE=system.name, DATASTORE_ID=str(system.id), TM_MAD=system.tm_mad, DISK_TYPE="BLOCK")


def suit_system_datastore(disk: dict[str, str], images: Datastore, system: Datastore) -> None:
    """At deployment an image's disk is told how its driver works with another's system datastore."""
    mode = system.tm_mad
    names = ("CLONE_TARGET", "LN_TARGET", "DISK_TYPE")
    own = {name: images.attributes.get(f"{name}_{mode.upper()}") for name in names}
    if None in own.values():
        raise ValueError(f"Image Datastore does not support transfer mode: {mode}")
    disk.update({name: text for name, text in own.items() if text}, TM_MAD_SYSTEM=mode)
    if disk["TYPE"] == "CDROM" and disk["DISK_TYPE"] == "BLOCK":
        disk["TYPE"] = "BLOCK_CDROM"


def suffix_of(disk: dict[str, str]) -> str:
    """What oned adds to the verb of an image's disk on the system datastore of another driver: ".ssh"."""
    return f".{disk['TM_MAD_SYSTEM']}" if "TM_MAD_SYSTEM" in disk else ""


def _flag(value: bool) -> str:
    return "YES" if value else "NO"


def _target(disk_id: int, prefix: str = "vd") -> str:
    letters, number = "", disk_id + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return f"{prefix}{letters}"
