"""Keys about images: where they come from, who works on them, and their export."""

from __future__ import annotations

from storpool_addon.config import key
from storpool_addon.config.key import DATASTORE


class Import:
    """Import"""

    restricted_dirs = key.words(
        "RESTRICTED_DIRS", "/", "Directories from which no image may be registered.", DATASTORE
    )
    safe_dirs = key.words(
        "SAFE_DIRS", "/var/tmp", "Directories below those from which images may be registered.", DATASTORE
    )
    bridge_list = key.words(
        "BRIDGE_LIST", "", "Hosts that write and read images; empty when the front-end does.", DATASTORE
    )
    no_decompress = key.flag("NO_DECOMPRESS", "0", "Keep compressed images as they are.", DATASTORE)
    limit_transfer_bw = key.text(
        "LIMIT_TRANSFER_BW", "", "Most bytes that a download may take in a second, such as 10M.", DATASTORE
    )
    sp_import_cgroups = key.words(
        "SP_IMPORT_CGROUPS", "", "cgroups that an import is moved into, as paths below /sys/fs/cgroup."
    )
    supported_fs = key.words(
        "SUPPORTED_FS",
        "ext4 ext3 ext2 xfs",
        "File systems that a new image can have; OpenNebula's datastore.conf says so too. Options of their"
        " mkfs are taken from FS_OPTS_<file system>, there or here.",
    )
    staging_dir = key.text(
        "STAGING_DIR",
        "/var/tmp",
        "Where a file lies that cannot be streamed, on the host that works.",
        DATASTORE,
    )


class Export:
    """Export"""

    export_bridge_list = key.words(
        "EXPORT_BRIDGE_LIST", "", "Hosts that export images; empty for BRIDGE_LIST.", DATASTORE
    )
    export_file_format = key.choice(
        "EXPORT_FILE_FORMAT",
        "",
        "Convert before export; empty to export the device.",
        "",
        "raw",
        "qcow",
        "qcow2",
    )
    export_qemu_img_args = key.arguments(
        "EXPORT_QEMU_IMG_ARGS", "", "More arguments for that `qemu-img convert`."
    )
    export_transport = key.word(
        "EXPORT_TRANSPORT", "ssh", "Scheme of the IMPORT_SOURCE that an export answers."
    )
