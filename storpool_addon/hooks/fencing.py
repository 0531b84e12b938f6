"""Fencing: a host that is lost, or half lost, is cut off from all volumes of ours, and known to be.

The order is what makes it safe. Whatever forbids it is looked for before anything is changed. Then it is
written down, and no action attaches anything to the host any more; then it loses its volumes; then StorPool
is asked whether it has. Only after that may a guest of it start elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import AddonError, HostError, HostUnreachable, OpenNebulaRefused, StateError
from storpool_addon.hooks import chronicle
from storpool_addon.hooks.cutting import DOWN, Cut, Found, sever
from storpool_addon.hooks.members import cuts_of, saying_which
from storpool_addon.hosts import guests
from storpool_addon.hosts.clients import fenced_words
from storpool_addon.opennebula.host import FENCED, LIFTED, Host
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.record import NamedTuple

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


class Outcome(NamedTuple):
    """What was done. since: when the host was fenced, and by whom. troubles: why it is not confirmed."""

    look: Look
    since: str
    troubles: Sequence[str]

    @property
    def confirmed(self) -> bool:
        """Whether the host is known to write to no volume of ours."""
        return not self.troubles

    def check(self) -> None:
        """StateError unless it is confirmed."""
        if self.troubles:
            raise StateError(
                f"host {self.look.host.name} is fenced, not confirmed: {'; '.join(self.troubles)}"
            )


def find_host(driver: Driver, word: str) -> Host:
    """A host by its name or id."""
    if word.isascii() and word.isdigit():
        return driver.one.host(int(word))
    return driver.one.host_by_name(word)


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


def fence(driver: Driver, seen: Look, who: str) -> Outcome:
    """Cut the host off and see that it is. who: in whose name. StateError, and nothing done, when refused.

    May be repeated after any end: what is attached then is detached, and what was confirmed is so anew.
    """
    if seen.refusal:
        raise StateError(seen.refusal)
    host, cuts = seen.host, seen.cuts
    since = host.fenced or f"{chronicle.now()} by {who}"
    told = chronicle.Entry(host.name, host.id, who, cuts)
    chronicle.append(driver, told.line("begun", {str(cut): _ours(seen.attached[str(cut)]) for cut in cuts}))
    _mark(driver, seen, since)
    troubles = _sever(driver, cuts)
    event = "unconfirmed" if troubles else "confirmed"
    chronicle.append(driver, told.line(event, {str(cut): cut.detached for cut in cuts}, troubles))
    return Outcome(seen, since, troubles)


def lift(driver: Driver, host: Host, who: str) -> None:
    """Let volumes be attached to the host again; StateError while it is not clean."""
    cuts = cuts_of(driver, host)
    trouble = _not_clean(driver, host, cuts)
    if trouble:
        raise StateError(f"host {host.name} stays fenced: {trouble}")
    driver.one.update("host", host.id, {FENCED: LIFTED})
    for cut in cuts:
        driver.fences.lift(cut.key)
    chronicle.append(driver, chronicle.Entry(host.name, host.id, who, cuts).line("lifted", {}))


def _not_clean(driver: Driver, host: Host, cuts: Sequence[Cut]) -> str:
    """Why the host is no place for a volume yet, "" when it is one."""
    has_volumes = False
    for cut in cuts:
        twice = cut.also_elsewhere()
        if twice:
            return f"volume {twice[0]} is attached to {cut} and to another; detach it from one of them"
        status, current, reached = cut.state()
        if status != "ok" or reached < current:
            return f"{cut} is {status or 'unknown'}; is StorPool up there?"
        has_volumes = has_volumes or any(each.ours for each in cut.attached())
    try:
        left = guests.running(driver.hosts.on(host.name))
    except HostError as error:
        return str(error)
    # OpenNebula names domains so. A fence that was ended before it detached anything leaves guests whole.
    ours = [each for each in left if each.startswith("one-")]
    if ours and not has_volumes:
        return (
            f"guests that lost their disks still run there ({', '.join(ours)}); end them with virsh destroy,"
            " or start the host anew"
        )
    return ""


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


def _ours(found: Sequence[Found]) -> list[str]:
    return [each.name for each in found if each.ours]


def _mark(driver: Driver, seen: Look, since: str) -> None:
    """Nothing is attached to the host from here on: here by the marks, elsewhere by what oned says."""
    host = seen.host
    fresh = [cut.key for cut in seen.cuts if not driver.fences.words(cut.key)]
    try:
        for cut in seen.cuts:
            driver.fences.mark(cut.key, fenced_words(host.name, since))
        if not host.fenced:
            driver.one.update("host", host.id, {FENCED: since})
    except AddonError:
        # Nothing is detached yet. If oned has written it down all the same, it can be lifted.
        for key in fresh:
            driver.fences.lift(key)
        raise


def _sever(driver: Driver, cuts: Sequence[Cut]) -> list[str]:
    until = time.monotonic() + driver.config.fence_timeout_s
    return sever(cuts, driver.fences, lambda: time.monotonic() > until, time.sleep)
