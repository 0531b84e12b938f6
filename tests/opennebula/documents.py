"""The sample documents, and small ones that are made for a test."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "opennebula-xml"


def document(name: str) -> bytes:
    """A sample by its file name."""
    return (DATA / name).read_bytes()


def vm(template: str = "", rest: str = "", state: int = 3, lcm_state: int = 3) -> bytes:
    """A VM with what a test puts in its TEMPLATE and beside it."""
    head = f"<ID>42</ID><STATE>{state}</STATE><LCM_STATE>{lcm_state}</LCM_STATE>"
    return f"<VM>{head}<TEMPLATE>{template}</TEMPLATE>{rest}</VM>".encode()


def disk(disk_id: int, **attributes: object) -> str:
    """A DISK element."""
    inside = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in attributes.items())
    return f"<DISK><DISK_ID>{disk_id}</DISK_ID>{inside}</DISK>"
