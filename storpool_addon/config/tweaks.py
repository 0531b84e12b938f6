"""Keys that are the defaults of domain tweaks; a VM overrides each by an attribute of the same name."""

from __future__ import annotations

from storpool_addon.config import elements, key
from storpool_addon.config.key import VM

# libvirt, "CPU Tuning" of its domain documents.
_PERIOD = "microseconds, 1000 to 1000000, or empty"
_QUOTA = "microseconds, 1000 to 17592186044415; 0 for none; negative for no limit; or empty"


def _within(text: str, *ranges: range) -> int | None:
    """A whole number of one of the ranges; None for an empty text."""
    if not text:
        return None
    value = int(text) if len(text) <= 18 and text.lstrip("-").isdigit() and text.isascii() else None
    if value is None or not any(value in each for each in ranges):
        raise ValueError(text)
    return value


def _period(name: str, whose: str) -> key.Key[int | None]:
    doc = f"Over which time {whose} is measured."
    return key.Key(name, "", doc, lambda text: _within(text, range(1000, 1000001)), _PERIOD, (VM,))


def _quota(name: str, whose: str) -> key.Key[int | None]:
    ranges = (range(-(10**12), 1), range(1000, 17592186044416))
    doc = f"How much of that time {whose} may use."
    return key.Key(name, "", doc, lambda text: _within(text, *ranges), _QUOTA, (VM,))


class Tweaks:
    """Tweaks of the domain"""

    deploy_tweaks = key.words(
        "DEPLOY_TWEAKS", "", "Tweaks at the start of a VM, besides those with a file in deploy-tweaks.d."
    )
    migrate_tweaks = key.words(
        "MIGRATE_TWEAKS", "", "Tweaks on a live migration, besides those with a file in migrate-tweaks.d."
    )
    t_cpu_threads = key.number("T_CPU_THREADS", "1", "Threads of a core.", VM, least=1, most=64)
    t_cpu_sockets = key.number("T_CPU_SOCKETS", "0", "Sockets; 0 to leave the topology alone.", VM, most=4096)
    t_cpu_alt_numa = key.flag("T_CPU_ALT_NUMA", "0", "Deal the CPUs out to the NUMA cells in turn.", VM)
    t_cpu_features = key.Key(
        "T_CPU_FEATURES",
        "",
        "CPU features.",
        elements.features,
        f"name[:policy],…; policy: {', '.join(elements.POLICIES)}",
        (VM,),
    )
    t_cpu_model = key.Key(
        "T_CPU_MODEL",
        "",
        "CPU model.",
        elements.model,
        f"model[:fallback]; fallback: {', '.join(elements.FALLBACKS)}; delete; or empty",
        (VM,),
    )
    t_cpu_vendor = key.word("T_CPU_VENDOR", "", "CPU vendor, when there is a model.", VM)
    t_cpu_check = key.choice(
        "T_CPU_CHECK", "", "cpu/@check.", "", "none", "partial", "full", "delete", scopes=(VM,)
    )
    t_cpu_match = key.choice(
        "T_CPU_MATCH", "", "cpu/@match.", "", "minimum", "exact", "strict", "delete", scopes=(VM,)
    )
    t_cpu_mode = key.choice(
        "T_CPU_MODE", "", "cpu/@mode.", "", "custom", "host-model", "host-passthrough", "delete", scopes=(VM,)
    )
    t_cputune_period = _period("T_CPUTUNE_PERIOD", "the quota of each CPU")
    t_cputune_quota = _quota("T_CPUTUNE_QUOTA", "each CPU")
    t_cputune_global_period = _period("T_CPUTUNE_GLOBAL_PERIOD", "the quota of the whole VM")
    t_cputune_global_quota = _quota("T_CPUTUNE_GLOBAL_QUOTA", "the whole VM")
    t_cputune_emulator_period = _period("T_CPUTUNE_EMULATOR_PERIOD", "the emulator's quota")
    t_cputune_emulator_quota = _quota("T_CPUTUNE_EMULATOR_QUOTA", "the emulator")
    t_cputune_iothread_period = _period("T_CPUTUNE_IOTHREAD_PERIOD", "the quota of each I/O thread")
    t_cputune_iothread_quota = _quota("T_CPUTUNE_IOTHREAD_QUOTA", "each I/O thread")
    t_cputune_shares_keep = key.flag(
        "T_CPUTUNE_SHARES_KEEP", "0", "Keep cputune/shares beside periods and quotas.", VM
    )
    t_diskserial = key.word(
        "T_DISKSERIAL", "DISABLED", "Serial numbers of disks: HASHPATH, any other word, or DISABLED.", VM
    )
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
