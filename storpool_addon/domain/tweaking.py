"""Changes a domain by tweaks that are given by name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from storpool_addon.config import Config
from storpool_addon.config.key import Key
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.errors import AddonError, TweakError, UsageError
from storpool_addon.opennebula.vm import Vm

# It changes the number of CPUs and the memory, which others deal out.
_FIRST = "resizeCpuMem"
# At the start of a VM.
BUILT_IN = (
    _FIRST,
    "context-cache",
    "cpu",
    "cpuShares",
    "cputune",
    "disk-cache-io",
    "disk-serial",
    "feature_smm",
    "hv-enlightenments",
    "hyperv-clock",
    "iothreads",
    "kvm-hide",
    "nic-queues",
    "os",
    "persistent-cdrom",
    "q35-pcie-root",
    "scsi-queues",
    "sysinfo_smbios",
    "uuid",
    "vfhostdev2interface",
    "video",
    "volatile2dev",
)
# On a live migration.
MIGRATE = ("disable-iothreads", "remove_cpu_features", "syncGraphicsListen")

_SUFFIX = ".py"


def tweak(document: bytes, vm: Vm, config: Config, names: Sequence[str]) -> bytes:
    """The document, changed by the tweaks in that order. config: with what the VM overrides.

    TweakError names the tweak that could not be made, and why; UsageError for a document that is no domain.
    """
    domain = Domain.parse(document, f"the domain of VM {vm.id}")
    apply(domain, vm, config, names)
    return domain.write()


def apply(domain: Domain, vm: Vm, config: Config, names: Sequence[str]) -> None:
    """Change the domain by the tweaks in that order; it is of no use after an error."""
    if names:
        domain.unify()
    for name in names:
        found = load(name)
        try:
            _check(found, vm, config)
            found.apply(domain, vm, config)
        except AddonError as error:
            raise TweakError(f"tweak {name}: {error}") from None


def in_order(name: str) -> tuple[bool, str]:
    """The place of a tweak among others: after what it builds on, and by its name."""
    return name != _FIRST, name


def _check(found: Tweak, vm: Vm, config: Config) -> None:
    """ConfigError for what is given and not allowed, whether it would be needed or not."""
    for key in found.keys:
        if isinstance(key, Key):
            key.read(config.given(key.name))
        else:
            key.check(vm)


def load(name: str) -> Tweak:
    """The tweak of that name, with `.py` or without."""
    known = built_in(name, (*BUILT_IN, *MIGRATE))
    if not known:
        raise UsageError(f"no tweak is named {name[:80]}; there are: {', '.join((*BUILT_IN, *MIGRATE))}")
    # Only what is enabled is imported: every module costs a deployment time.
    module = known.replace("-", "_").lower()
    found: Tweak = import_module(f"storpool_addon.domain.tweaks.{module}").TWEAK
    return found


def built_in(file_name: str, known: Sequence[str]) -> str:
    """The name of the tweak that a file of that name stands for, "" when it is none of the known."""
    name = file_name[: -len(_SUFFIX)] if file_name.endswith(_SUFFIX) else file_name
    return name if name in known else ""
