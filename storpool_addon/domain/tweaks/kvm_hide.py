"""kvm-hide: a guest that does not see KVM."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Hide KVM from a guest that asks for it."""
    if config.t_kvm_hide:
        domain.set("features/kvm/hidden", state="on")


TWEAK = Tweak(
    name="kvm-hide",
    doc="Hides from the guest that it runs on KVM, which some drivers of graphics cards want.",
    change="With `T_KVM_HIDE`: `features/kvm/hidden/@state='on'`.",
    keys=(Config.t_kvm_hide,),
    apply=apply,
)
