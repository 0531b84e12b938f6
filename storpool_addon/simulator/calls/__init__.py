"""The API: one function per call, found by method and query."""

from __future__ import annotations

from storpool_addon.simulator.calls import (  # noqa: F401  importing registers the calls
    attachments,
    keyvalue,
    locations,
    services,
    snapshots,
    status,
    templates,
    volumes,
)
from storpool_addon.simulator.calls.registry import CALLS, Call, Request, find

__all__ = ["CALLS", "Call", "Request", "find"]
