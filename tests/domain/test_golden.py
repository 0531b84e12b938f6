"""What each tweak makes of domains as oned writes them."""

from __future__ import annotations

import pytest

from storpool_addon.domain.tweaking import load
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


@pytest.mark.parametrize("base", sorted(path.name for path in golden.BASES.iterdir()))
def test_all_together_repeat_too(base: str) -> None:
    once = golden.all_together(base)
    assert golden.all_together(base, times=2) == once
    # They count the CPUs that the guest can grow to.
    most = "8" if base == "numa-pc" else "16"
    assert f'cores="{most}"' in once
    assert f'queues="{most}"' in once
    assert once.count("<vcpus>") == 1
