"""Timers of a domain's clock."""

from __future__ import annotations

from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert


def timer(domain: Domain, name: str, **attributes: str) -> None:
    """Set attributes of the timer of that name; clock and timer are made if they are absent."""
    clock = domain.ensure("clock")
    if clock.get("offset") is None:
        clock.set("offset", "utc")
    found = clock.find(f"timer[@name='{name}']")
    element = insert(clock, "timer", name=name) if found is None else found
    for key, value in attributes.items():
        element.set(key, value)
