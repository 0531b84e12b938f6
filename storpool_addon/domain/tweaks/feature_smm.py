"""feature_smm: system management mode, as UEFI's secure boot needs it."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.errors import StateError
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Write the mode and its memory."""
    mode, memory = config.t_feature_smm, config.t_feature_smm_tseg
    if mode is not None:
        domain.replace("features/smm", "", mode.attributes)
    if memory is None:
        return
    if not domain.is_q35:
        raise StateError(
            f"VM {vm.id} has T_FEATURE_SMM_TSEG and machine type {domain.machine or 'pc'}; only q35 has that"
        )
    if mode is None and domain.find("features/smm") is None:
        domain.replace("features/smm", "", {"state": "on"})
    domain.replace("features/smm/tseg", memory.text, memory.attributes)


TWEAK = Tweak(
    name="feature_smm",
    doc="System management mode is on, as UEFI's secure boot needs it.",
    change="`features/smm` with that state, and in it `tseg` with that size (machine type q35 only).",
    keys=(Config.t_feature_smm, Config.t_feature_smm_tseg),
    apply=apply,
)
