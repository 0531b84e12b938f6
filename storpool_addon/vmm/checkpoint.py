"""Saving and restoring a guest: OpenNebula's own scripts on the host, between those of the transfer manager.

OpenNebula calls none of a transfer manager's scripts here. Which they are says the TM_MAD of the system
datastore; ours run in this process, others as the programs that they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from posixpath import dirname
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import HostError
from storpool_addon.hosts import memory, stock, vmdir
from storpool_addon.opennebula.action import VmmAction
from storpool_addon.opennebula.datastore import without_token
from storpool_addon.opennebula.location import absolute, as_written, checked_host
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.opennebula.vm import TM_MAD
from storpool_addon.opennebula.xml import decoded
from storpool_addon.tm import checkpoint
from storpool_addon.tm.checkpoint import SavedGuest

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_TIMEOUT_S = 3600.0
_OURS: dict[str, Callable[[Driver, SavedGuest], None]] = {
    "presave": checkpoint.presave,
    "postsave": checkpoint.postsave,
    "prerestore": checkpoint.prerestore,
    "postrestore": checkpoint.postrestore,
}
# It becomes a part of a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)


class _Sent(NamedTuple):
    """The action's document: what it says, and how it is handed on."""

    action: VmmAction
    document: bytes

    @classmethod
    def parse(cls, document: bytes) -> _Sent:
        plain = decoded(document)
        return cls(VmmAction.parse(plain), plain)


class _Request(NamedTuple):
    """What is to be saved or restored. words: of OpenNebula's script, which are those of the hooks too.

    tm_mad: of the system datastore.
    """

    file: str
    words: tuple[str, ...]
    guest: SavedGuest
    tm_mad: str
    document: bytes


class Saved(NamedTuple):
    """A guest and the file of its memory, as oned tells both actions. file: as oned writes it."""

    deploy_id: str
    file: str
    host: str
    vm_id: int
    same_host: str
    action: _Sent


@protocol(
    deploy_id=text,
    file=as_written,
    host=checked_host,
    vm_id=number,
    same_host=checked_host,
    stdin=("action", _Sent.parse),
    into=Saved,
)
def tmsave(driver: Driver, saved: Saved) -> None:
    """The guest's memory is saved, to a volume where the site wants that, and the guest ends.

    When it could not be saved and runs on, what was prepared is taken back. When nobody knows, all stays.
    """
    request = _request(saved, saved.deploy_id, saved.file, saved.host, str(saved.vm_id), saved.same_host)
    _hook(driver, "presave", request)
    try:
        memory.save(driver.hosts.on(saved.host), _guest(driver, request))
    except HostError as error:
        if error.exit_code_there == stock.STILL_RUNS and _is_ours(request):
            checkpoint.postrestore(driver, request.guest)
        raise
    _hook(driver, "postsave", request)


@protocol(
    file=as_written,
    host=checked_host,
    deploy_id=text,
    vm_id=number,
    same_host=checked_host,
    stdin=("action", _Sent.parse),
    into=Saved,
)
def tmrestore(driver: Driver, saved: Saved) -> None:
    """The guest runs again from its saved memory, which is gone then; when that fails it is kept."""
    request = _request(saved, saved.file, saved.host, saved.deploy_id, str(saved.vm_id), saved.same_host)
    _hook(driver, "prerestore", request)
    memory.restore(driver.hosts.on(saved.host), _guest(driver, request))
    _hook(driver, "postrestore", request)


def _request(saved: Saved, *words: str) -> _Request:
    """UsageError when the arguments and the document are not about the same VM."""
    file, action = absolute(saved.file), saved.action.action
    vmdir.check(dirname(file), saved.vm_id)
    _, system = action.of(saved.vm_id)
    guest = SavedGuest(file, saved.host, saved.vm_id, action, saved.deploy_id, saved.same_host)
    return _Request(file, words, guest, system.tm_mad, saved.action.document)


def _guest(driver: Driver, request: _Request) -> memory.Guest:
    return memory.Guest(
        remotes=driver.config.scripts_remote_dir,
        home=dirname(request.file),
        file=request.file,
        domain=request.guest.deploy_id,
        words=request.words,
        document=without_token(request.document),
    )


def _hook(driver: Driver, name: str, request: _Request) -> None:
    """Run a script of the system datastore's transfer manager; one that has none is left alone."""
    if _is_ours(request):
        _OURS[name](driver, request.guest)
        return
    mad = request.tm_mad
    script = f"{driver.remotes}/tm/{mad}/{name}"
    if _NAME.fullmatch(mad) and os.access(script, os.X_OK):
        what = f"{name} of transfer manager {mad} for VM {request.guest.vm_id}"
        stdin = request.document
        driver.processes.run([script, *request.words], what=what, timeout_s=_TIMEOUT_S, stdin=stdin)


def _is_ours(request: _Request) -> bool:
    return request.tm_mad == TM_MAD
