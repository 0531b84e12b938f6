"""cpu: the guest's CPU model and how its CPUs are laid out."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.config.elements import Model
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.topology import lay_out, list_vcpus
from storpool_addon.domain.tweak import Tweak
from storpool_addon.errors import StateError
from storpool_addon.opennebula.vm import Vm

_DELETE = "delete"


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Write what is given."""
    for name, value in (
        ("mode", config.t_cpu_mode),
        ("match", config.t_cpu_match),
        ("check", config.t_cpu_check),
    ):
        _attribute(domain, name, value)
    _model(domain, config.t_cpu_model)
    if config.t_cpu_vendor and domain.text("cpu/model"):
        domain.replace("cpu/vendor", config.t_cpu_vendor)
    _features(domain, config.t_cpu_features, vm)
    lay_out(domain, config)
    if config.t_cpu_sockets:
        list_vcpus(domain)


def _attribute(domain: Domain, name: str, value: str) -> None:
    if value == _DELETE:
        for cpu in domain.all("cpu"):
            if name in cpu.attrib:
                del cpu.attrib[name]
    elif value:
        domain.ensure("cpu").set(name, value)


def _model(domain: Domain, model: Model) -> None:
    if model.name == _DELETE:
        # libvirt takes no vendor without a model.
        domain.remove("cpu/model")
        domain.remove("cpu/vendor")
    elif model.name:
        domain.replace("cpu/model", model.name, {"fallback": model.fallback} if model.fallback else {})


def _features(domain: Domain, features: tuple[tuple[str, str], ...], vm: Vm) -> None:
    if not features:
        return
    cpu = domain.ensure("cpu")
    if not (domain.text("cpu/model") or cpu.get("mode", "").startswith("host-")):
        raise StateError(
            f"VM {vm.id}: T_CPU_FEATURES needs a CPU model; give T_CPU_MODEL, or T_CPU_MODE=host-passthrough"
            " or host-model"
        )
    for name, policy in features:
        found = next((each for each in cpu.findall("feature") if each.get("name") == name), None)
        element = insert(cpu, "feature", name=name) if found is None else found
        element.set("policy", policy)


TWEAK = Tweak(
    name="cpu",
    doc="The guest's CPU model is chosen, and its CPUs are laid out in sockets and NUMA cells.",
    change=(
        "`cpu/@mode`, `@match` and `@check`, removed by `delete`; `cpu/model`, also removed by `delete`;"
        " `cpu/vendor` where there is a model; `cpu/feature` of each name. With `T_CPU_SOCKETS`:"
        " `cpu/topology`, one `cpu/numa/cell` for each socket with its part of memory and CPUs (in turn with"
        " `T_CPU_ALT_NUMA` and one thread, else one range), and `vcpus`."
    ),
    keys=(
        Config.t_cpu_mode,
        Config.t_cpu_match,
        Config.t_cpu_check,
        Config.t_cpu_model,
        Config.t_cpu_vendor,
        Config.t_cpu_features,
        Config.t_cpu_sockets,
        Config.t_cpu_threads,
        Config.t_cpu_alt_numa,
    ),
    apply=apply,
)
