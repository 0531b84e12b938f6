"""CPU shares as OpenNebula writes them into a domain (LibVirtDriverKVM.cc): of cgroup v1, or v2's weight."""

from __future__ import annotations

import math
from typing import NamedTuple


class Scale(NamedTuple):
    """For a CPU, and what the kernel takes at least and at most."""

    base: int
    least: int
    most: int

    def of(self, cpus: float) -> int:
        """The shares of so many CPUs."""
        return min(max(math.ceil(self.base * cpus), self.least), self.most)


V1, V2 = Scale(1024, 2, 262144), Scale(100, 1, 10000)
