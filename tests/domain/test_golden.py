"""What each tweak makes of domains as oned writes them."""

from __future__ import annotations

import pytest

from storpool_addon.domain.tweaking import BUILT_IN, load
from tests.domain import golden

CASES = golden.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.tweak}-{case.name}")
def test_golden(case: golden.Case) -> None:
    made = case.made()
    assert case.difference_to(made) == case.difference, f"python -m tests.domain.golden {case.tweak}"
    assert case.made(times=2) == made, "a tweak that is repeated changes nothing more"


@pytest.mark.parametrize("name", sorted({case.tweak for case in CASES}))
def test_every_tweak_has_three_cases_and_explains_itself(name: str) -> None:
    tweak = load(name)
    assert tweak.name == name
    assert tweak.doc.endswith(".") and tweak.change.endswith(".")
    assert len({case.name for case in CASES if case.tweak == name}) >= 3


# For all tweaks together, all at work.
EVERYTHING = {
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


@pytest.mark.parametrize("base", sorted(path.name for path in golden.BASES.iterdir()))
def test_all_together_repeat_too(base: str) -> None:
    once = golden.tweaked(base, list(BUILT_IN), EVERYTHING, {})
    assert golden.tweaked(base, list(BUILT_IN) * 2, EVERYTHING, {}) == once
    # They count the CPUs that the guest can grow to.
    most = "8" if base == "numa-pc" else "16"
    assert f'cores="{most}"' in once
    assert f'queues="{most}"' in once
    assert once.count("<vcpus>") == 1
