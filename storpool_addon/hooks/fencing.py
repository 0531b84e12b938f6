"""Fencing: a host that is lost, or half lost, is cut off from all volumes of ours, and known to be.

The order is what makes it safe. Whatever forbids it is looked for before anything is changed. Then it is
written down, and no action attaches anything to the host any more; then it loses its volumes; then StorPool
is asked whether it has. Only after that may a guest of it start elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import AddonError, HostError, StateError
from storpool_addon.hooks import chronicle
from storpool_addon.hooks.cutting import Cut, Found, sever
from storpool_addon.hooks.examining import Look
from storpool_addon.hooks.members import cuts_of
from storpool_addon.hosts import guests
from storpool_addon.hosts.clients import fenced_words
from storpool_addon.opennebula.host import FENCED, LIFTED, Host

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


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
