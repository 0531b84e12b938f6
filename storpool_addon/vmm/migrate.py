"""A live migration with tweaks: OpenNebula's own migrate, which is given a changed domain for the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.domain.enabled import enabled
from storpool_addon.domain.tweaking import MIGRATE
from storpool_addon.errors import UsageError
from storpool_addon.hosts import migration, vmdir
from storpool_addon.hosts.migration import Migration
from storpool_addon.opennebula.datastore import Datastore, without_token
from storpool_addon.opennebula.location import absolute, checked_host
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.opennebula.vm import Vm
from storpool_addon.opennebula.xml import decoded, parse
from storpool_addon.vmm.tweaks import Subject, tweaked

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class _Sent(NamedTuple):
    """The action's document: what it says, and how it is handed on. directory: of the VM."""

    subject: Subject
    directory: str
    document: bytes

    @classmethod
    def parse(cls, document: bytes) -> _Sent:
        plain = decoded(document)
        root = parse(plain)
        vm = root.required("VM")
        system = Datastore.from_node(root.required("DATASTORE"))
        subject = Subject(Vm.from_node(vm), system, vm.document())
        directory = root.text("DISK_TARGET_PATH") or f"{system.base_path}/{subject.vm.id}"
        return cls(subject, directory, without_token(plain))


class Migrating(NamedTuple):
    """What oned gives migrate."""

    deploy_id: str
    target: str
    source: str
    vm_id: int
    same_host: str
    action: _Sent


@protocol(
    deploy_id=text,
    target=checked_host,
    source=checked_host,
    vm_id=number,
    same_host=checked_host,
    stdin=("action", _Sent.parse),
    into=Migrating,
)
def migrate_tweaks(driver: Driver, migrating: Migrating) -> None:
    """The guest runs on the target, in a domain that the tweaks which are switched on have changed.

    A guest that has arrived by an earlier run is left alone; one that is on both hosts too, with an error.
    """
    shell, asked = driver.hosts.on(migrating.source), _asked(driver, migrating)
    directory = f"{driver.remotes}/vmm/kvm/migrate-tweaks.d"
    tweaks = enabled(directory, driver.config.migrate_tweaks, MIGRATE)
    domain = migration.domain_on_source(shell, asked) if tweaks else b""
    if domain:
        domain = tweaked(driver, migrating.action.subject, domain, tweaks)
    if not migration.migrate(shell, asked, domain):
        driver.log(f"OpenNebula's migrate on {migrating.source} took no notice of the changed domain")


def _asked(driver: Driver, migrating: Migrating) -> Migration:
    sent = migrating.action
    if sent.subject.vm.id != migrating.vm_id:
        raise UsageError(f"standard input is about VM {sent.subject.vm.id}, not about VM {migrating.vm_id}")
    vmdir.check(absolute(sent.directory), migrating.vm_id)
    words = (migrating.deploy_id, migrating.target, migrating.source, str(migrating.vm_id), migrating.source)
    return Migration(
        remotes=driver.config.scripts_remote_dir,
        home=absolute(sent.directory),
        domain=migrating.deploy_id,
        target=migrating.target,
        words=words,
        options=driver.config.migrate_options,
        sync_time=driver.config.sync_time,
        document=sent.document,
    )
