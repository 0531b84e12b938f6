"""python -m storpool_addon.simulator."""

from __future__ import annotations

import sys

from storpool_addon.simulator.command import main

if __name__ == "__main__":
    sys.exit(main())
