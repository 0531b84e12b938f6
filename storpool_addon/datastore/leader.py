"""Whether this front-end leads its zone: periodic work is done once, and oned takes it only there."""

from __future__ import annotations

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
_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_here(driver: Driver) -> bool:
    """By RAFT_LEADER_IP where it is set, else as this machine's own oned says; AddonError if unknown."""
    address = driver.config.raft_leader_ip
    if address.lower() == _EVERYWHERE:
        return True
    if address:
        return _is_mine(address)
    return _local(driver).raft_state() in (_SOLO, _LEADER)


def _is_mine(address: str) -> bool:
    """Whether the address is one of this machine's: only those can be bound."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(where)
    except socket.gaierror:
        raise ConfigError(f"RAFT_LEADER_IP is {address!r}, which is no address") from None
    except OSError:
        return False
    return True


def _local(driver: Driver) -> OpenNebula:
    """The oned of this machine: where all front-ends share an address, that leads to the leader from each."""
    environ = driver.environ
    given = driver.config.one_xmlrpc or session.endpoint(environ)
    if urlsplit(given).hostname in _LOCAL:
        return driver.one
    return OpenNebula(session.DEFAULT_ENDPOINT, session.secret(environ), tally=driver.tally)
