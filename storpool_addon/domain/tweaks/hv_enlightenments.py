"""hv-enlightenments: what Hyper-V offers its Windows guests."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.timers import timer
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm

_FLAGS = {
    "relaxed": Config.t_hv_relaxed,
    "vapic": Config.t_hv_vapic,
    "reset": Config.t_hv_reset,
    "vpindex": Config.t_hv_vpindex,
    "runtime": Config.t_hv_runtime,
    "synic": Config.t_hv_synic,
    "stimer": Config.t_hv_stimer,
    "frequencies": Config.t_hv_frequencies,
    "reenlightenment": Config.t_hv_reenlightenment,
    "tlbflush": Config.t_hv_tlbflush,
    "ipi": Config.t_hv_ipi,
    "evmcs": Config.t_hv_evmcs,
}


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Switch on what is asked for."""
    if domain.find("features/hyperv") is None:
        return
    for name, key in _FLAGS.items():
        if key.read(config.given(key.name)):
            domain.set(f"features/hyperv/{name}", state="on")
    _spinlocks(domain, config)
    # libvirt has these two elsewhere (formatdomain, "Time keeping" and "panic device").
    if config.t_hv_time:
        timer(domain, "hypervclock", present="yes")
    if config.t_hv_crash and not domain.all("devices/panic[@model='hyperv']"):
        insert(domain.ensure("devices"), "panic", model="hyperv")


def _spinlocks(domain: Domain, config: Config) -> None:
    retries = config.t_hv_spinlocks
    if not retries:
        return
    element = domain.set("features/hyperv/spinlocks", state="on")
    given = config.given(Config.t_hv_spinlocks.name)
    if element.get("retries") is None or (given and given.text == str(retries)):
        element.set("retries", str(retries))


TWEAK = Tweak(
    name="hv-enlightenments",
    doc="A Windows guest gets what Hyper-V would offer it.",
    change=(
        "Where there is `features/hyperv`: its child of that name gets `state='on'`, `spinlocks` also its"
        " `retries`; `T_HV_TIME` stands for `clock/timer[@name='hypervclock']` with `present='yes'`,"
        " `T_HV_CRASH` for `devices/panic[@model='hyperv']`."
    ),
    keys=(*_FLAGS.values(), Config.t_hv_spinlocks, Config.t_hv_time, Config.t_hv_crash),
    apply=apply,
)
