"""Keys about hosts that are fenced."""

from __future__ import annotations

from storpool_addon.config import key

NONE, RUNNING, ALL = "none", "running", "all"


class Fencing:
    """Fencing"""

    fence_timeout_s = key.number(
        "FENCE_TIMEOUT",
        "120",
        "Seconds in which StorPool has to confirm that a host is cut off from its volumes.",
        least=1,
        most=3600,
    )
    host_error_wait_s = key.number(
        "HOST_ERROR_WAIT",
        "120",
        "Seconds after which the hook of hosts in ERROR looks again; a host that is back is left alone.",
        most=3600,
    )
    host_error_vms = key.choice(
        "HOST_ERROR_VMS",
        RUNNING,
        "VMs that this hook lets OpenNebula move to other hosts, once the host is confirmed to be cut off:"
        " those that ran, those that are powered off as well, or none.",
        RUNNING,
        ALL,
        NONE,
    )
