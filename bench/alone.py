"""Measures in a process of its own: a module of the benchmark that prints its fields as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from bench.rows import Row
from bench.world import CHECKOUT


def measured(name: str, module: str, *words: str, most: Mapping[str, float]) -> Row:
    """The row of that name. most: limits, by field."""
    argv = [sys.executable, "-m", module, *words]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    over = tuple(field for field, limit in most.items() if found[field] > limit)
    return Row({"name": name, **found}, over)
