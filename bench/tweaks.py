"""Measures all tweaks of a deployment on one domain, in a process that has just read its VM."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator

from bench.limits import TWEAKS_MS
from bench.rows import Row
from bench.world import CHECKOUT
from tests.domain import golden

NAME = "tweaks"
BASE = "windows-q35"
# The VM and the configuration are there in any action; the tweaks' modules are not.
_PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from storpool_addon.config import Config
from storpool_addon.opennebula.vm import Vm
given = json.load(sys.stdin)
vm = Vm.parse(given["vm"].encode())
vm = vm._replace(attributes=given["attributes"])
config, document = Config().for_vm(vm), given["domain"].encode()
taken_ms = []
for _ in range(2):
    began = time.process_time()
    from storpool_addon.domain.tweaking import BUILT_IN, tweak
    tweak(document, vm, config, BUILT_IN)
    taken_ms.append((time.process_time() - began) * 1000)
print(json.dumps([len(BUILT_IN), *taken_ms]))
"""


def measure(rounds: int, only: str) -> Iterator[Row]:
    """CPU time of the first time in a process, modules included, and of a second time: nothing waits."""
    if only not in NAME:
        return
    directory = golden.BASES / BASE
    given = {
        "vm": (directory / "vm.xml").read_text(),
        "domain": (directory / "domain.xml").read_text(),
        "attributes": golden.TOGETHER,
    }
    taken = [_round(json.dumps(given)) for _ in range(rounds)]
    count, first_ms, again_ms = (statistics.median(column) for column in zip(*taken))
    fields = {"tweaks": int(count), "first_cpu_ms": round(first_ms, 1), "again_cpu_ms": round(again_ms, 1)}
    yield Row({"name": NAME, **fields}, ("first_cpu_ms",) if first_ms > TWEAKS_MS else ())


def _round(given: str) -> list[float]:
    argv = [sys.executable, "-c", _PROGRAM, CHECKOUT]
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found
