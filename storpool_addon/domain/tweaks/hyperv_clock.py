"""hyperv-clock: clocks that keep Windows guests on time."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.timers import timer
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Set the timers of a guest that has Hyper-V's enlightenments."""
    if domain.find("features/hyperv") is None:
        return
    timer(domain, "hypervclock", present="yes")
    timer(domain, "rtc", tickpolicy="catchup")
    timer(domain, "pit", tickpolicy="delay")
    timer(domain, "hpet", present="no")


TWEAK = Tweak(
    name="hyperv-clock",
    doc="A Windows guest keeps the time.",
    change=(
        "Where there is `features/hyperv`: in `clock`, which is made with `offset='utc'` if there is none,"
        " the timers hypervclock (`present='yes'`), rtc (`tickpolicy='catchup'`), pit (`tickpolicy='delay'`)"
        " and hpet (`present='no'`)."
    ),
    keys=(),
    apply=apply,
)
