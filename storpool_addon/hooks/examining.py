"""What is seen of a host before it is fenced, and whether that forbids it: nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names
from storpool_addon.errors import AddonError, HostError, HostUnreachable, OpenNebulaRefused
from storpool_addon.hooks.cutting import DOWN, Cut, Found
from storpool_addon.hooks.members import cuts_of, saying_which
from storpool_addon.hosts import guests
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.vm import TM_MAD, Vm

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class Look(NamedTuple):
    """What there is before anything is done. attached: by the title of the cluster's client.

    answers: what the host itself said, for a person. refusal: why it must not be fenced, "" when it may.
    """

    host: Host
    cuts: Sequence[Cut]
    attached: dict[str, list[Found]]
    vms: Sequence[Vm]
    answers: str
    refusal: str

    def notes(self) -> Iterator[str]:
        """What a fence leaves as it is."""
        for title, found in self.attached.items():
            for each in found:
                if not each.ours:
                    kind = "snapshot" if each.snapshot else "volume"
                    yield f"{kind} {each.name} on {title} is not ours and stays attached"
        for vm in self.vms:
            for disk_id in others_disks(vm):
                yield f"disk {disk_id} of VM {vm.id} is another driver's, which has to fence it itself"


def look(driver: Driver, host: Host) -> Look:
    """See whether the host may be fenced. AddonError when that cannot be told: nothing may be done then."""
    cuts = cuts_of(driver, host)
    states, attached = [], {}
    for cut in cuts:
        with saying_which(str(cut)):
            states.append(cut.state()[0])
            attached[str(cut)] = cut.attached()
    vms = [driver.one.vm(each) for each in host.vms]
    answers, lives = _ask(driver, host)
    refusal = ""
    if lives and any(status != DOWN for status in states):
        refusal = f"host {host.name} is well: {answers}, and StorPool serves it; "
        refusal += "to end that it is fenced, use --lift" if host.fenced else "move its VMs, or stop it"
    strange = list(_strange(driver, vms, attached))
    if strange and not refusal:
        refusal = f"host {host.name} is left as it is, for VMs there use volumes not known as ours: "
        refusal += "; ".join(strange)
    mistaken = refusal or _mistaken(driver, host, attached)
    return Look(host, cuts, attached, vms, answers, mistaken)


def others_disks(vm: Vm) -> list[int]:
    """The VM's disks that this driver does not keep."""
    return [disk.disk_id for disk in vm.disks if vm.tm_mad_of(disk) not in ("", TM_MAD)]


def _ask(driver: Driver, host: Host) -> tuple[str, bool]:
    """What the host says of itself, and whether it does its work: it answers, and its libvirt does."""
    try:
        names_of_guests = guests.running(driver.hosts.on(host.name))
    except HostUnreachable as error:
        return f"it does not answer ({error.last_line or 'ssh'})", False
    except HostError as error:
        return f"it answers, its libvirt does not ({error.last_line or 'no message'})", False
    return f"it answers, and its libvirt runs {len(names_of_guests)} guests", True


def _strange(driver: Driver, vms: Sequence[Vm], attached: dict[str, list[Found]]) -> Iterator[str]:
    """Volumes on the host that its VMs use and that are not provably ours."""
    px = driver.config.one_px
    for title, found in attached.items():
        for each in found:
            for vm in () if each.ours or each.snapshot else vms:
                if _uses(px, vm, each.name):
                    yield f"{each.name} of VM {vm.id} on {title}"


def _uses(px: str, vm: Vm, name: str) -> bool:
    origin = names.parse(px, name)
    if origin is not None and origin.vm_id == vm.id:
        return True
    own = (disk for disk in vm.disks if vm.tm_mad_of(disk) == TM_MAD and (disk.is_volatile or disk.source))
    return any(_named(px, vm, disk) == name for disk in own)


def _named(px: str, vm: Vm, disk: object) -> str:
    try:
        return names.of_disk(px, vm.id, disk)  # type: ignore[arg-type]
    except AddonError:
        return ""


def _mistaken(driver: Driver, host: Host, attached: dict[str, list[Found]]) -> str:
    """Why the client seems to be another host, "" when it does not: then that one's guests would lose all."""
    for title, found in attached.items():
        for vm_id in sorted({each.vm for each in found if each.ours and each.vm is not None} - {*host.vms}):
            try:
                vm = driver.one.vm(vm_id)
            except OpenNebulaRefused:
                continue
            if all(each.hid != host.id for each in vm.history):
                return (
                    f"{title} has volumes of VM {vm_id}, which never was on host {host.name}; is SP_OURID of"
                    " the host right? if it is, detach them first"
                )
    return ""
