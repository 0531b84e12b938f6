"""Keys that are the defaults of domain tweaks; a VM overrides each by an attribute of the same name."""

from __future__ import annotations

from storpool_addon.config import key
from storpool_addon.config.key import VM


class Tweaks:
    """Tweaks of the domain"""

    t_cpu_threads = key.number("T_CPU_THREADS", "1", "Threads of a core.", VM, least=1)
    t_cpu_sockets = key.number("T_CPU_SOCKETS", "0", "Sockets; 0 to leave the topology alone.", VM)
    t_cpu_alt_numa = key.flag("T_CPU_ALT_NUMA", "0", "Deal the CPUs out to the NUMA cells in turn.", VM)
    t_cpu_features = key.text("T_CPU_FEATURES", "", "CPU features: a list of name[:policy] with commas.", VM)
    t_cpu_model = key.text("T_CPU_MODEL", "", "CPU model: model[:fallback], or delete.", VM)
    t_cpu_vendor = key.text("T_CPU_VENDOR", "", "CPU vendor.", VM)
    t_cpu_check = key.choice(
        "T_CPU_CHECK", "", "cpu/@check.", "", "none", "partial", "full", "delete", scopes=(VM,)
    )
    t_cpu_match = key.choice(
        "T_CPU_MATCH", "", "cpu/@match.", "", "minimum", "exact", "strict", "delete", scopes=(VM,)
    )
    t_cpu_mode = key.choice(
        "T_CPU_MODE", "", "cpu/@mode.", "", "custom", "host-model", "host-passthrough", "delete", scopes=(VM,)
    )
    t_cputune_period = key.text("T_CPUTUNE_PERIOD", "", "cputune/period.", VM)
    t_cputune_quota = key.text("T_CPUTUNE_QUOTA", "", "cputune/quota.", VM)
    t_cputune_global_period = key.text("T_CPUTUNE_GLOBAL_PERIOD", "", "cputune/global_period.", VM)
    t_cputune_global_quota = key.text("T_CPUTUNE_GLOBAL_QUOTA", "", "cputune/global_quota.", VM)
    t_cputune_emulator_period = key.text("T_CPUTUNE_EMULATOR_PERIOD", "", "cputune/emulator_period.", VM)
    t_cputune_emulator_quota = key.text("T_CPUTUNE_EMULATOR_QUOTA", "", "cputune/emulator_quota.", VM)
    t_cputune_iothread_period = key.text("T_CPUTUNE_IOTHREAD_PERIOD", "", "cputune/iothread_period.", VM)
    t_cputune_iothread_quota = key.text("T_CPUTUNE_IOTHREAD_QUOTA", "", "cputune/iothread_quota.", VM)
    t_cputune_shares_keep = key.flag("T_CPUTUNE_SHARES_KEEP", "0", "Keep cputune/shares.", VM)
    t_diskserial = key.text(
        "T_DISKSERIAL", "DISABLED", "Serial numbers of disks: HASHPATH, any other word, or DISABLED.", VM
    )
    t_nic_queues = key.text("T_NIC_QUEUES", "0", "Queues of virtio NICs: a number, or VCPU.", VM)
    t_blk_queues = key.flag("T_BLK_QUEUES", "NO", "As many queues as CPUs for virtio disks.", VM)
    t_vcpu_max = key.text("T_VCPU_MAX", "", "Most CPUs that the VM can grow to.", VM)
    t_persistent_cdrom = key.number("T_PERSISTENT_CDROM", "0", "Empty CD drives that every VM has.", VM)
    t_persistent_cdrom_type = key.choice(
        "T_PERSISTENT_CDROM_TYPE", "block", "Type of those drives.", "block", "file", scopes=(VM,)
    )
    max_cdrom_devices = key.number("MAX_CDROM_DEVICES", "4", "Most CD drives that a VM may have.")


class Migration:
    """Live migration"""

    graphics_listen = key.text("GRAPHICS_LISTEN", "", "Where the console listens after a migration.")
    migrate_options = key.arguments("MIGRATE_OPTIONS", "", "More arguments for `virsh migrate`.")
    sync_time = key.flag("SYNC_TIME", "0", "Set the guest's clock after a migration.")
