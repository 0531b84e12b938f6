"""A guest that holds still while its disks are snapshotted; its host lets it go again, whoever dies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from storpool_addon.errors import HostError, UsageError
from storpool_addon.hosts.hold import HOLD, Hold
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.process import Processes, says
from storpool_addon.hosts.shell import Shell
from storpool_addon.hosts.virsh import LIBVIRT

AGENT, SUSPEND = "agent", "suspend"
# virsh's words that hold a guest and let it go.
_WORDS = {AGENT: ("domfsfreeze", "domfsthaw"), SUSPEND: ("suspend", "resume")}
# What the guest's agent may take to answer; a guest that writes much flushes its caches first.
ANSWER_S = 20
# A snapshot takes a fraction of a second; a guest must not stand still for a StorPool that does not answer.
HOLD_S = 30
# The script's own end, were nobody to end it, and ours: its connection, its answers, some tries of a thaw.
_MARGIN_S = 30
_FROZEN = b"frozen\n"
_DEPLOY_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", re.ASCII)

_THAW = (
    LIBVIRT
    + r"""
domain=$1 undo=$2 answer=$3
tell() { timeout -k 1 "$answer" virsh --connect "$uri" "$1" "$domain" </dev/null; }
thaw() {
    local try
    for ((try = 1; try < $1; try++)); do tell "$undo" >&2 && return 0; sleep 0.3; done
    tell "$undo" >&2
}
"""
)
# A freeze that was under way when the script died may take hold after the first thaw: hence the second. The
# script says by a signal that its freeze has been answered: one that does no harm to who does not expect it.
_WATCH = (
    _THAW
    + r"""
parent=$4 end=$((SECONDS + $5)) late=$((SECONDS + answer + 2)) answered=
trap 'answered=1' CONT
while [ $SECONDS -lt $end ] && [ -e "/proc/$parent/exe" ]; do sleep 0.2; done
thaw 100
[ -n "$answered" ] || [ $SECONDS -ge $late ] || { sleep $((late - SECONDS)); thaw 3; }
"""
)
# Ends when the guest runs again: after standard input has ended (we are done, or dead) or $5 seconds.
_HOLD = (
    PRELUDE
    + _THAW
    + HOLD
    + r"""
word=$4 limit=$5 watch=$6
let_go() { thaw 5; }
# A guest that somebody else has paused stays so.
if [ "$word" = suspend ] && [ "$(tell domstate)" = paused ]; then undo=domstate word=domstate; fi
watched_by "$watch" storpool-addon-thaw "$domain" "$undo" "$answer" $$ $((answer + limit + 5))
tell "$word" >&2
kill -CONT "$watcher"
hold frozen "$limit"
"""
)


@contextmanager
def frozen(
    processes: Processes,
    shell: Shell,
    deploy_id: str,
    mode: str,
    required: bool,
    log: Callable[[str], None],
    *,
    hold_s: int = HOLD_S,
    answer_s: int = ANSWER_S,
) -> Iterator[bool]:
    """Hold a guest for as long as the block lasts; whether it was held.

    mode: "agent" for its file systems, "suspend" for all of it, "" for neither. The host lets it go when we
    die, and after hold_s in any case. required: what goes wrong is HostError; else it is logged and the work
    goes on.
    """
    if not mode:
        yield False
        return
    try:
        hold = _hold(processes, shell, deploy_id, mode, hold_s, answer_s)
    except HostError as error:
        if required:
            raise
        log(f"{error}; going on without")
        yield False
        return
    failed = False
    try:
        yield True
    except BaseException:
        failed = True
        raise
    finally:
        _let_go(hold, log, quiet=failed or not required)


def _hold(processes: Processes, shell: Shell, deploy_id: str, mode: str, hold_s: int, answer_s: int) -> Hold:
    """Start the script on the host; back when the guest is held."""
    if not _DEPLOY_ID.fullmatch(deploy_id):
        raise UsageError(f"{deploy_id!r} is not the deploy id of a VM that runs")
    word, undo = _WORDS[mode]
    hold = Hold.begin(
        processes,
        shell,
        _HOLD,
        *(deploy_id, undo, str(answer_s), word, str(hold_s), _WATCH),
        what=f"freezing {deploy_id}",
        timeout_s=answer_s + hold_s + _MARGIN_S,
        patience_s=answer_s + _MARGIN_S,
    )
    if not says(hold.child, _FROZEN, hold.patience_s):
        raise hold.end() or hold.error(0, "the host did not say that it is frozen")
    return hold


def _let_go(hold: Hold, log: Callable[[str], None], *, quiet: bool) -> None:
    """quiet: what goes wrong is only logged."""
    error = hold.end()
    if error is None:
        return
    if not quiet:
        raise error
    log(f"{error}; its host goes on trying to let it go")
