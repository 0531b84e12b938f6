"""Names that no file sets: attributes of objects, and what the bash addon read and this driver does not."""

from __future__ import annotations

# Name: (which objects carry it, what it says).
ATTRIBUTES = {
    "SP_QOSCLASS": (
        "datastore, image, VM",
        "QoS class of volumes. On a VM also a list: `class;<disk id>:class;…`.",
    ),
    "VC_POLICY": ("VM", "VolumeCare policy of the VM's volumes (tag vc-policy)."),
    "SP_OURID": ("host", "The host's StorPool client id."),
    "SP_FENCED": (
        "host",
        "Since when, and by whom, nothing is attached to the host; `NO` when it was lifted.",
    ),
    "REMOTE_BACKUP_DELETE": (
        "datastore",
        "`location[:tag=value …]`: a disk is backed up to that StorPool location before it is deleted.",
    ),
    "VMSNAPSHOT_WITH_CHECKPOINT": ("VM", "Whether VM snapshots include the memory."),
}

_PROGRAMS = "programs are found by PATH"
_TEMPLATES = "StorPool templates are made and changed in StorPool"
_ASKED = "StorPool is asked by its API; no command is run"
_PUSH = "nothing is copied to hosts any more"
_ATTACH = "every attach leaves the volume on that client only"
_REPORTED = "the format is reported to oned when an image is registered"
_INSTALLER = "the options of install.py"
_TOOLS = "the options of storpool-addon"

# Name: what takes its place. A name that ends in * stands for all that begin so.
OBSOLETE = {
    "ONE_ARGS": "oned is called directly; ONE_XMLRPC names its address",
    "ONE_LOCATION": "the environment's ONE_LOCATION",
    "NO_PROXY_API": "no proxy is used for the API",
    "STORPOOL_RETRIES": "a call is repeated until its deadline, when repeating can help",
    **dict.fromkeys(
        (
            "AUTO_TEMPLATE",
            "SP_AUTO_TEMPLATE",
            "SP_TEMPLATE_PROPAGATE",
            "PROPAGATE_YES",
            "SP_REPLICATION",
            "SP_PLACEALL",
            "SP_PLACETAIL",
            "SP_PLACEHEAD",
            "SP_IOPS",
            "SP_BW",
        ),
        _TEMPLATES,
    ),
    **dict.fromkeys(
        ("FORCE_DETACH_BY_TAG", "FORCE_DETACH_OTHER_MV", "FORCE_DETACH_OTHER_CONTEXT", "MV_DETACH_ALL"),
        _ATTACH,
    ),
    "CDROM_BACKWARD_COMPATIBILITY": "a CDROM of a release before 19.03.2 gets its copy when its VM moves",
    "PING_COUNT": "a host is what ssh says it is",
    **dict.fromkeys(
        (
            "WGET",
            "MKSWAP",
            "MKFS",
            "DD",
            "DU",
            "TAR",
            "QEMU_IMG",
            "STAT",
            "AWK",
            "SSH",
            "JQ_BIN",
            "SUDO",
            "BLOCKDEV_GET_SIZE",
        ),
        _PROGRAMS,
    ),
    **dict.fromkeys(
        (
            "DS_CP_REPORT_FORMAT",
            "UPDATE_IMAGE_ON_IMPORT",
            "UPDATE_IMAGE_LOCK_STRING",
            "DS_CP_FORCE_DEV_PREFIX",
        ),
        _REPORTED,
    ),
    "NOLOCAL": "local files are always read directly",
    "COPY_CMD_DD_BS": "the size of a copy's blocks is chosen by the driver",
    "COPY_CMD_DS_BS": "the size of a copy's blocks is chosen by the driver",
    "VMSNAPSHOT_SLEEP": "the freeze is waited for",
    "VMSNAPSHOT_SLEEP_REMOTE": "the freeze is waited for",
    "VMSNAPSHOT_EXCLUDE_CDROM": "VMSNAPSHOT_EXCLUDE_READONLY",
    "VMSNAPSHOT_ATOMIC": "VM snapshots are always atomic",
    "VMSNAPSHOT_FSFREEZE_MULTIDISKS": "VMSNAPSHOT_FSFREEZE",
    "UPDATE_ONE_DISK_SIZE": "a reverted disk keeps the size that OpenNebula knows",
    **dict.fromkeys(
        (
            "SP_TEMPLATE_STATUS_RUN",
            "SP_VOLUME_SPACE_RUN",
            "SP_SNAPSHOT_SPACE_RUN",
            "SP_VOLUME_STATUS_*",
            "SP_VOLUME_LIST_*",
            "SP_SNAPSHOT_LIST_*",
            "SP_CMD_*",
            "SP_VOLUME_SPACEUSED_JSON",
        ),
        _ASKED,
    ),
    **dict.fromkeys(
        ("SP_TEMPLATE_STATUS_JSON", "SP_VOLUME_SPACE_JSON", "SP_SNAPSHOT_SPACE_JSON"),
        "what is collected is in one file",
    ),
    "ONE_VM_POOL_*": "oned is asked directly",
    "ONEDATASTORE_XML": "oned is asked directly",
    **dict.fromkeys(
        ("SP_JSON_PATH", "MONITOR_SYNC_REMOTE", "sshConnectTimeout", "sshConnectionAttempts"), _PUSH
    ),
    "NC_WAIT_TIME": "monitord is talked to directly",
    "TEST_ENV": "the simulator",
    **dict.fromkeys(
        ("QEMU_PROTOCOL", "DATASTORE_LOCATION", "REMOTE_LOCATION", "ONE_RUNDIR"), "OpenNebula's own settings"
    ),
    "DELETE_T_CPU_SHARES": "the hook `resize`, which marks what it has carried out",
    **dict.fromkeys(("FT_ACTION", "FT_HOSTNAME", "FT_HOSTID"), "OpenNebula's own hooks"),
    **dict.fromkeys(
        (
            "ONE_VER",
            "ONE_USER",
            "ONE_GROUP",
            "ONE_VAR",
            "ONE_LIB",
            "ONE_ETC",
            "ONE_DS",
            "CP_ARG",
            "AUGEAS_LENSES",
            "AUTOCONF",
            "ONED",
            "SUNSTONE",
            "DEFAULT_AUTOCONF",
            "STORPOOL_EXTRAS",
        ),
        _INSTALLER,
    ),
    **dict.fromkeys(
        (
            "ONE_PATH",
            "VMDISKS_HIDE_VM_DISKS",
            "DRY_RUN",
            "DO_CLEANUP",
            "ONE_DS_HOME",
            "SLP",
            "VM_NAME",
            "VN_NAME",
            "KEEP_TEST_TEMPLATE",
            "KEEP_DATA_DIR",
        ),
        _TOOLS,
    ),
    **dict.fromkeys(
        (
            "DEBUG",
            "DEBUG_*",
            "DDEBUG_*",
            "DDDEBUG_*",
            "DDDDEBUG_*",
            "STORPOOL_COMMON_FUNC_EXEC",
        ),
        "the log says every step without being asked",
    ),
}


def replacement(name: str) -> str | None:
    """What takes the place of an obsolete name, None when the name is not obsolete."""
    if name in OBSOLETE:
        return OBSOLETE[name]
    for each, text in OBSOLETE.items():
        if each.endswith("*") and name.startswith(each[:-1]):
            return text
    return None
