"""Whether this front-end leads its zone: periodic work is done once, and oned takes it only there."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from storpool_addon.errors import ConfigError
from storpool_addon.opennebula import session
from storpool_addon.opennebula.rpc import OpenNebula

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_EVERYWHERE = "disabled"
# RaftManager::State of OpenNebula: alone, and leader; candidate and follower are 1 and 2.
_SOLO, _LEADER = 0, 3
_FAMILIES = {int(socket.AF_INET): "ipv4", int(socket.AF_INET6): "ipv6"}
_LOCAL_V4 = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_here(driver: Driver) -> bool:
    """By RAFT_LEADER_IP where it is set, else as this machine's own oned says; AddonError if unknown."""
    address = driver.config.raft_leader_ip
    if address.lower() == _EVERYWHERE:
        return True
    if address:
        return is_mine(address)
    return _local(driver).raft_state() in (_SOLO, _LEADER)


def is_mine(address: str) -> bool:
    """Whether the address is one of this machine's: only those can be bound, unless the kernel binds any."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(where)
    except socket.gaierror:
        raise ConfigError(f"RAFT_LEADER_IP is {address!r}, which is no address") from None
    except OSError:
        return False
    number = str(where[0]).partition("%")[0]
    return not _binds_any(family) or socket.inet_pton(family, number) in _addresses(family)


def _binds_any(family: int) -> bool:
    """ip_nonlocal_bind, which gateways such as haproxy want."""
    try:
        with open(f"/proc/sys/net/{_FAMILIES[family]}/ip_nonlocal_bind", encoding="ascii") as file:
            return file.read().strip() != "0"
    except OSError:
        return False


def _addresses(family: int) -> set[bytes]:
    """This machine's own."""
    if family == socket.AF_INET6:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            return {bytes.fromhex(line.split()[0]) for line in file}
    with open("/proc/net/fib_trie", encoding="ascii") as file:
        return {socket.inet_pton(family, each) for each in _LOCAL_V4.findall(file.read())}


def _local(driver: Driver) -> OpenNebula:
    """The oned of this machine: where all front-ends share an address, that leads to the leader from each."""
    environ = driver.environ
    given = driver.config.one_xmlrpc or session.endpoint(environ)
    if urlsplit(given).hostname in _LOCAL:
        return driver.one
    return OpenNebula(session.DEFAULT_ENDPOINT, session.secret(environ), tally=driver.tally)
