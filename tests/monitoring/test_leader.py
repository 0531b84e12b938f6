"""Whether this machine has the leader's address."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = """
import sys
from storpool_addon.datastore.leader import is_mine
print(*[each for each in sys.argv[1:] if is_mine(each)])
"""
SET_UP = "ip link set lo up && ip address add 192.0.2.7/32 dev lo && ip -6 address add 2001:db8::7/128 dev lo"
BIND_ANY = "for each in ipv4 ipv6; do echo 1 >/proc/sys/net/$each/ip_nonlocal_bind; done"


@pytest.mark.needs("ip", "unshare")
@pytest.mark.parametrize("sysctl", [":", BIND_ANY])
def test_the_leaders_address(sysctl: str) -> None:
    """Also where the kernel lets anybody bind any address, as gateways before several front-ends want."""
    script = f'{SET_UP} && {sysctl} && exec "$@"'
    asked = [
        "192.0.2.7",
        "192.0.2.70",
        "127.0.0.1",
        "127.0.0.2",
        "198.51.100.1",
        "2001:db8::7",
        "2001:db8::8",
    ]
    argv = ["unshare", "--map-root-user", "--net", "sh", "-c", script, "sh", sys.executable, "-c", ASK]
    done = subprocess.run([*argv, *asked], capture_output=True, text=True, check=False)
    if done.returncode and not done.stdout and "is_mine" not in done.stderr:
        pytest.skip(f"no network of its own for this user here: {done.stderr.strip()}")
    assert done.stderr == ""
    mine = {"192.0.2.7", "127.0.0.1", "2001:db8::7"}
    assert set(done.stdout.split()) - {"127.0.0.2"} == mine
