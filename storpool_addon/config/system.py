"""Keys about system datastores, what VMs leave there, snapshots and QoS."""

from __future__ import annotations

from storpool_addon.config import key
from storpool_addon.config.key import DATASTORE, VM, Key


def _checkpoint(text: str) -> str:
    if text.lower() == "nomigrate":
        return "nomigrate"
    return "always" if key.yes_or_no(text) else ""


class SystemDatastore:
    """System datastore and the VM's directory"""

    sp_system = key.choice(
        "SP_SYSTEM",
        "ssh",
        "Where VMs' directories are: on each host's own disk, and copied (ssh), or on a shared one (shared).",
        "ssh",
        "shared",
        scopes=(DATASTORE,),
    )
    skip_undeploy_ssh = key.flag(
        "SKIP_UNDEPLOY_SSH",
        "0",
        "Do not copy the VM's directory to the front-end on undeploy, nor on stop if SP_CHECKPOINT_BD is on.",
    )
    clean_src_on_undeploy = key.flag(
        "CLEAN_SRC_ON_UNDEPLOY", "1", "Remove the directory on the host when it is not copied."
    )
    scripts_remote_dir = key.text("SCRIPTS_REMOTE_DIR", "/var/tmp/one", "Where the remotes are on hosts.")
    checkpoint_on_volume = key.flag(
        "SP_CHECKPOINT_BD", "0", "Save VMs' memory straight to volumes (presave)."
    )
    sp_checkpoint: Key[str] = Key(
        "SP_CHECKPOINT",
        "",
        "Obsolete, SP_CHECKPOINT_BD replaces it: no archives of saved memory are made. The bash addon's"
        " are taken out at `onevm resume`; set as long as there are any, it lets them go with their VM.",
        _checkpoint,
        "1 Y YES T TRUE ON for always, nomigrate, or empty for never",
    )
    sp_compression = key.word("SP_COMPRESSION", "lz4", "Program that compresses that archive.")
    one_tpm_save = key.flag("ONE_TPM_SAVE", "1", "Keep the state of virtual TPMs on volumes.")
    ovmf_path = key.text(
        "OVMF_PATH", "/var/lib/one/remotes/OVMF", "Where templates of UEFI variables are on the front-end."
    )
    nvram_template_path = key.text(
        "NVRAM_TEMPLATE_PATH", "/var/tmp/one/OVMF", "Where templates of UEFI variables are on hosts."
    )


class Snapshots:
    """Snapshots"""

    vmsnapshot_override = key.flag("VMSNAPSHOT_OVERRIDE", "1", "Take VM snapshots in StorPool.")
    vmsnapshot_tag = key.tag("VMSNAPSHOT_TAG", "ONESNAP", "Word in the names of VM snapshots.")
    vmsnapshot_fsfreeze = key.flag(
        "VMSNAPSHOT_FSFREEZE", "0", "Freeze the guest's file systems for VM snapshots."
    )
    vmsnapshot_delete_on_terminate = key.flag(
        "VMSNAPSHOT_DELETE_ON_TERMINATE", "1", "Delete VM snapshots with their disk, VM or image."
    )
    vmsnapshot_enable_limit = key.flag("VMSNAPSHOT_ENABLE_LIMIT", "1", "Enforce VMSNAPSHOT_LIMIT.")
    vmsnapshot_limit = key.limit("VMSNAPSHOT_LIMIT", "Most snapshots that a VM may have.", DATASTORE, VM)
    disksnapshot_limit = key.limit(
        "DISKSNAPSHOT_LIMIT", "Most snapshots that a disk may have.", DATASTORE, VM
    )
    vmsnapshot_exclude_readonly = key.flag(
        "VMSNAPSHOT_EXCLUDE_READONLY", "0", "Leave read-only disks out of VM snapshots."
    )
    disk_snapshot_fsfreeze = key.flag(
        "DISK_SNAPSHOT_FSFREEZE", "0", "Freeze the guest's file systems for a disk snapshot."
    )
    disk_saveas_fsfreeze = key.flag(
        "DISK_SAVEAS_FSFREEZE", "0", "Freeze the guest's file systems while a disk is saved as an image."
    )


class Backups:
    """Backups"""

    backup_base_path = key.text(
        "BACKUP_BASE_PATH",
        "",
        "Directory of the hosts in which backups are prepared; empty for the VM's own. OpenNebula's backup"
        " drivers read it in its datastore.conf: write it there.",
    )
    backup_snapshot_life_s = key.duration(
        "BACKUP_SNAPSHOT_LIFE",
        "48h",
        "How long StorPool keeps the snapshots of a full backup when nobody deletes them: more than the"
        " longest backup takes.",
    )
    backup_base_life_s = key.duration(
        "BACKUP_BASE_LIFE",
        "30d",
        "How long StorPool keeps the snapshots that the next increment is compared with; an increment that"
        " comes later holds the whole disk.",
    )


class Qos:
    """QoS"""

    default_qosclass = key.word(
        "DEFAULT_QOSCLASS", "", "QoS class (tag qc) of volumes for which nobody asks for another."
    )
