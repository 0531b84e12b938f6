"""cpuShares on hosts whose kernel takes less than it would write."""

from __future__ import annotations

import pytest

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweaking import apply
from tests.domain import golden


@pytest.mark.parametrize(
    ("written", "attributes", "shares"),
    [
        ("2048", {"T_CPUTUNE_MUL": "4"}, "16384"),
        ("200", {"T_CPUTUNE_MUL": "4"}, "10000"),
        ("200", {"T_CPUTUNE_MUL": "1"}, "4096"),
        ("200", {"T_CPUTUNE_SHARES": "262144"}, "10000"),
        ("77", {"T_CPUTUNE_SHARES": "262144"}, "262144"),
    ],
)
def test_no_more_than_the_host_takes(written: str, attributes: dict[str, str], shares: str) -> None:
    """VM linux-pc has CPU 2 and VCPU 4: oned writes 2048 for cgroup v1, and 200 for v2."""
    document = (golden.BASES / "linux-pc" / "domain.xml").read_bytes()
    domain = Domain.parse(document.replace(b"<shares>2048<", f"<shares>{written}<".encode()))
    vm = golden.vm_of("linux-pc", attributes)
    config = Config().for_vm(vm)
    for _ in range(2):
        apply(domain, vm, config, ["cpuShares"])
        assert f"<shares>{shares}</shares>" in domain.write().decode()
