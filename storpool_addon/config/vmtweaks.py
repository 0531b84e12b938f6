"""Attributes of a VM that its domain tweaks read, and that make no sense for all VMs of a site."""

from __future__ import annotations

from storpool_addon.config import elements
from storpool_addon.config.key import Attribute, yes_or_no

# QEMU's own default, and the least that libvirt takes.
SPINLOCK_RETRIES, LEAST_SPINLOCK_RETRIES = 8191, 4095


def _shares(text: str) -> int | None:
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else -1
    if text and not 2 <= value <= 262144:
        raise ValueError(text)
    return value if text else None


def _spinlocks(text: str) -> int:
    """How often a guest retries before it tells the host; 0 for not at all."""
    if text.isascii() and text.isdigit() and LEAST_SPINLOCK_RETRIES <= int(text[:12]) < 2**32:
        return int(text)
    return SPINLOCK_RETRIES if yes_or_no(text) else 0


def _enlightenment(name: str) -> Attribute[bool]:
    doc = f"Hyper-V enlightenment {name}."
    return Attribute(f"T_HV_{name.upper()}", "", doc, yes_or_no, "on or 1; off, 0 or empty")


class VmTweaks:
    """Tweaks of one VM"""

    t_cputune_mul = Attribute(
        "T_CPUTUNE_MUL",
        "0.1",
        "CPU shares of each CPU, as a part of 1024.",
        elements.millionths,
        "a number with up to 6 decimals",
    )
    t_cputune_shares = Attribute("T_CPUTUNE_SHARES", "", "CPU shares.", _shares, "2 to 262144, or empty")
    t_feature_smm = Attribute(
        "T_FEATURE_SMM", "", "System management mode.", elements.smm, ":state=on, :state=off, or empty"
    )
    t_feature_smm_tseg = Attribute(
        "T_FEATURE_SMM_TSEG",
        "",
        "Memory of the system management mode.",
        elements.size,
        "number:unit=MiB (or KiB, GiB), or empty",
    )
    t_hv_spinlocks = Attribute(
        "T_HV_SPINLOCKS",
        "",
        "Hyper-V enlightenment spinlocks.",
        _spinlocks,
        f"on or 1 for {SPINLOCK_RETRIES} retries; how many, from {LEAST_SPINLOCK_RETRIES}; off, 0 or empty",
    )
    t_hv_relaxed = _enlightenment("relaxed")
    t_hv_vapic = _enlightenment("vapic")
    t_hv_time = _enlightenment("time")
    t_hv_crash = _enlightenment("crash")
    t_hv_reset = _enlightenment("reset")
    t_hv_vpindex = _enlightenment("vpindex")
    t_hv_runtime = _enlightenment("runtime")
    t_hv_synic = _enlightenment("synic")
    t_hv_stimer = _enlightenment("stimer")
    t_hv_frequencies = _enlightenment("frequencies")
    t_hv_reenlightenment = _enlightenment("reenlightenment")
    t_hv_tlbflush = _enlightenment("tlbflush")
    t_hv_ipi = _enlightenment("ipi")
    t_hv_evmcs = _enlightenment("evmcs")
