"""The start of a VM: its domain is tweaked, and OpenNebula's own deploy on the host starts it."""

from __future__ import annotations

import re
from posixpath import basename
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.domain.enabled import enabled
from storpool_addon.domain.tweaking import BUILT_IN
from storpool_addon.errors import StateError, UsageError
from storpool_addon.hosts import deployment
from storpool_addon.hosts.deployment import Deployment
from storpool_addon.opennebula.datastore import without_token
from storpool_addon.opennebula.location import absolute, checked_host
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.opennebula.xml import decoded
from storpool_addon.vmm.tweaks import Subject, tweaked

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_TIME = re.compile(rb"deployment_time>([0-9]+)</")
# OpenNebula's deploy puts files in the place of links to them (disks in qcow2 with snapshots), and looks for
# them in oned's own quotes.
_FILE = re.compile(rb'<source file="([^"\'<]*)"')


class Start(NamedTuple):
    """What oned gives deploy. file: of the domain, on the front-end; domain: the same from standard input."""

    file: str
    host: str
    vm_id: int
    same_host: str
    domain: bytes


def _given(document: bytes) -> bytes:
    return decoded(document) if document.strip() else b""


@protocol(
    file=absolute,
    host=checked_host,
    vm_id=number,
    same_host=checked_host,
    stdin=("domain", _given),
    into=Start,
)
def deploy_tweaks(driver: Driver, start: Start) -> str:
    """The domain runs, changed by the tweaks that are switched on; gives its id.

    A tweak that fails stops it all: a VM must not start without what its user asked for.
    """
    vm = driver.one.vm(start.vm_id)
    system = driver.one.datastore(vm.last.ds_id, decrypt=False)
    subject = Subject(vm, system, driver.one.vm_document(vm.id))
    directory = f"{driver.remotes}/vmm/kvm/deploy-tweaks.d"
    tweaks = enabled(directory, driver.config.deploy_tweaks, BUILT_IN)
    domain = tweaked(driver, subject, start.domain or _read(start.file), tweaks)
    return deployment.start(driver.hosts.on(start.host), _deployment(driver, start, subject, domain))


def _deployment(driver: Driver, start: Start, subject: Subject, domain: bytes) -> Deployment:
    system, time = subject.system, _TIME.search(domain)
    if not system.base_path:
        raise StateError(f"oned does not say the directory (BASE_PATH) of system datastore {system.id}")
    home = f"{system.base_path}/{start.vm_id}"
    return Deployment(
        remotes=driver.config.scripts_remote_dir,
        home=home,
        name=f"one-{start.vm_id}",
        time=time[1].decode() if time else "",
        words=(f"{home}/{basename(start.file)}", start.host, str(start.vm_id), start.same_host),
        domain=_FILE.sub(rb"<source file='\1'", domain),
        vm=subject.document,
        # For all to read: what oned encrypts stays so.
        datastore=without_token(driver.one.datastore_document(system.id)),
    )


def _read(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise UsageError(
            f"standard input has no domain, and {file} cannot be read: {error.strerror}"
        ) from None
