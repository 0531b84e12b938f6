"""Golden cases of tweaks: a base domain, attributes of its VM, and the difference that the tweak makes.

`golden/<tweak>/<case>.diff` begins with lines `base: <directory in bases>`, `NAME=value` for attributes of
the VM and `site: NAME=value` for the site's configuration. An empty line and the unified diff follow.
The difference is written anew by `python -m tests.domain.golden [tweak …]`; look at it before you believe it.
"""

from __future__ import annotations

import re
import sys
from difflib import unified_diff
from pathlib import Path
from typing import NamedTuple

from storpool_addon.config import Config
from storpool_addon.config.key import Given
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweaking import BUILT_IN, apply
from storpool_addon.opennebula.vm import Vm

BASES = Path(__file__).parent / "bases"
GOLDEN = Path(__file__).parent / "golden"

# With these all tweaks find something to do at once.
TOGETHER = {
    "T_CPU_SOCKETS": "1",
    "T_CPU_MODE": "host-passthrough",
    "T_CPUTUNE_QUOTA": "50000",
    "T_DISKSERIAL": "yes",
    "T_FEATURE_SMM": ":state=on",
    "T_HV_RELAXED": "on",
    "T_KVM_HIDE": "on",
    "T_NIC_QUEUES": "VCPU",
    "T_OS_LOADER": "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd:readonly=yes type=pflash",
    "T_OS_NVRAM": "storpool:template=OVMF_VARS_4M.fd type=block",
    "T_PERSISTENT_CDROM": "2",
    "Q35_PCIE_ROOT_PORTS": "12",
    "T_VCPU_MAX": "16",
    "T_MEMORY_MAX": "32768",
    "T_BLK_QUEUES": "yes",
    "T_SMBIOS_SYSTEM": "product=Box",
    "T_UUID": "0b3dd5c5-7a2e-45ea-a4a3-a7e1a6e6a5a1",
    "T_VIDEO_MODEL": "type=vga",
}


class Case(NamedTuple):
    """A golden case. head: its lines before the difference."""

    tweak: str
    name: str
    head: tuple[str, ...]
    difference: str

    @classmethod
    def read(cls, path: Path) -> Case:
        head, _, difference = path.read_text().partition("\n\n")
        return cls(path.parent.name, path.stem, tuple(head.splitlines()), difference)

    @property
    def base(self) -> str:
        (found,) = (line[6:] for line in self.head if line.startswith("base: "))
        return found

    @property
    def site(self) -> dict[str, str]:
        return dict(line[6:].split("=", 1) for line in self.head if line.startswith("site: "))

    @property
    def attributes(self) -> dict[str, str]:
        others = (line for line in self.head if not line.startswith(("base: ", "site: ")))
        return dict(line.split("=", 1) for line in others)

    def made(self, times: int = 1) -> str:
        """The base domain after the tweak."""
        return tweaked(self.base, [self.tweak] * times, self.attributes, self.site)

    def difference_to(self, text: str) -> str:
        """What is different in a text from the base domain as it is written back."""
        lines = unified_diff(document(self.base).splitlines(True), text.splitlines(True), n=2)
        return "".join(line for line in lines if not line.startswith(("---", "+++")))


def cases(*tweaks: str) -> list[Case]:
    """All cases, or those of some tweaks."""
    paths = sorted(GOLDEN.glob("*/*.diff"))
    return [Case.read(path) for path in paths if not tweaks or path.parent.name in tweaks]


def everything() -> dict[str, str]:
    """Attributes with which every tweak finds something to do."""
    useful = [case for case in cases() if not re.search("delete|off|keep", case.name)]
    return {name: text for case in useful for name, text in case.attributes.items()}


def document(base: str) -> str:
    """A base domain as it is written back when no tweak finds anything to do."""
    domain = Domain.parse((BASES / base / "domain.xml").read_bytes())
    domain.unify()
    return domain.write().decode()


def vm_of(base: str, attributes: dict[str, str]) -> Vm:
    """The base's VM with more attributes."""
    vm = Vm.parse((BASES / base / "vm.xml").read_bytes())
    return vm._replace(attributes=type(vm.attributes)({**vm.attributes, **attributes}))


def tweaked(base: str, names: list[str], attributes: dict[str, str], site: dict[str, str]) -> str:
    """A base domain after tweaks in that order."""
    domain = Domain.parse((BASES / base / "domain.xml").read_bytes())
    vm = vm_of(base, attributes)
    config = Config({name: Given(text, "site") for name, text in site.items()}).for_vm(vm)
    apply(domain, vm, config, names)
    return domain.write().decode()


def all_together(base: str, times: int = 1) -> str:
    """A base domain after all tweaks of a deployment."""
    return tweaked(base, list(BUILT_IN) * times, TOGETHER, {})


def write(*tweaks: str) -> None:
    """Write down what the tweaks make today."""
    for case in cases(*tweaks):
        path = GOLDEN / case.tweak / f"{case.name}.diff"
        path.write_text("\n".join(case.head) + "\n\n" + case.difference_to(case.made()))


if __name__ == "__main__":
    write(*sys.argv[1:])
