"""docs/guarantees.md names only tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall((PROJECT / "docs/guarantees.md").read_text())
    assert len(named) > 40
    for path, name in named:
        text = (PROJECT / path).read_text()
        assert not name or f"\ndef {name}(" in text, f"{path} has no {name}"
