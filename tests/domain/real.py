"""Whether the libvirt of this machine can judge what tweaks make."""

from __future__ import annotations

import pytest

from storpool_addon.lab.libvirtd import kind
from tests import programs


def require_schema() -> None:
    """Skip where libvirt does not know all that tweaks write."""
    version = programs.run("virsh", "--version").strip()
    if tuple(int(each) for each in version.split(".")[:2]) < (8, 5):
        pytest.skip(f"libvirt {version} knows no UEFI variables on a device, 8.5 does")


def require_kvm() -> None:
    """Skip where guests of type kvm are refused."""
    require_schema()
    if kind() != "kvm":
        pytest.skip("libvirt refuses guests of type kvm here: /dev/kvm cannot be opened")
