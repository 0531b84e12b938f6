"""A guest that holds still while its disks are snapshotted; its host lets it go again, whoever dies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from storpool_addon.errors import HostError, UsageError
from storpool_addon.hosts.prelude import LIBVIRT, PRELUDE
from storpool_addon.hosts.process import Finished, Processes, describe, says
from storpool_addon.hosts.shell import Shell

AGENT, SUSPEND = "agent", "suspend"
# virsh's words that hold a guest and let it go.
_WORDS = {AGENT: ("domfsfreeze", "domfsthaw"), SUSPEND: ("suspend", "resume")}
# What the guest's agent may take to answer; a guest that writes much flushes its caches first.
ANSWER_S = 20
# A snapshot takes a fraction of a second; a guest must not stand still for a StorPool that does not answer.
HOLD_S = 30
# The script's own end, were nobody to end it, and ours: its connection, its answers, some tries of a thaw.
_MARGIN_S = 30
_LATE = 75
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
# A session of its own: it outlives the connection and the script, and looks after the guest alone then.
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
    + r"""
hold=$4 limit=$5 watch=$6
trap '' PIPE
# timeout ends us with a signal to us and one to all of us: the second must not cut the end short.
trap 'trap "" TERM HUP INT; exit 143' TERM HUP INT
finish() {
    code=$?
    trap '' TERM HUP INT
    trap - EXIT
    if thaw 5; then kill -KILL -- "-$watcher" 2>/dev/null; else code=1; fi
    exit "$code"
}
# A guest that somebody else has paused stays so.
if [ "$hold" = suspend ] && [ "$(tell domstate)" = paused ]; then undo=domstate hold=domstate; fi
setsid bash -c "$watch" storpool-addon-thaw "$domain" "$undo" "$answer" $$ $((answer + limit + 5)) \
    </dev/null >/dev/null 2>&1 &
watcher=$!
trap finish EXIT
tell "$hold" >&2
kill -CONT "$watcher"
echo frozen
code=0
read -r -t "$limit" _ || code=$?
# bash: more than 128 when the time was over, 1 at the end of the input.
[ "$code" -le 128 ] || exit 75
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
    what = f"freezing {deploy_id or 'a VM without a deploy id'}"
    try:
        child = _hold(processes, shell, deploy_id, mode, what, hold_s, answer_s)
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
        quiet = failed or not required
        _let_go(processes, shell, child, what, log, quiet=quiet, timeout_s=_patience(answer_s))


def _hold(
    processes: Processes, shell: Shell, deploy_id: str, mode: str, what: str, hold_s: int, answer_s: int
) -> subprocess.Popen[bytes]:
    """Start the script on the host; back when the guest is held."""
    if not _DEPLOY_ID.fullmatch(deploy_id):
        raise UsageError(f"{deploy_id!r} is not the deploy id of a VM that runs")
    hold, undo = _WORDS[mode]
    words = (deploy_id, undo, str(answer_s), hold, str(hold_s), _WATCH)
    argv = shell.command(_HOLD, *words, timeout_s=answer_s + hold_s + _MARGIN_S)
    child = processes.start(argv, stdin=subprocess.PIPE)
    if not says(child, _FROZEN, answer_s + _MARGIN_S):
        raise _error(processes, shell, child, what, answer_s)
    return child


def _let_go(
    processes: Processes,
    shell: Shell,
    child: subprocess.Popen[bytes],
    what: str,
    log: Callable[[str], None],
    *,
    quiet: bool,
    timeout_s: float,
) -> None:
    """End the hold by ending the script's input. quiet: what goes wrong is only logged."""
    try:
        processes.finish(child, timeout_s=timeout_s)
    except Finished as ended:
        late = ended.exit_code == _LATE
        last_line = "it took too long, and the guest was let go before the end" if late else ended.last_line
        error = HostError(shell.name, what, ended.exit_code, last_line or describe(ended, timeout_s))
        if not quiet:
            raise error from None
        log(f"{error}; its host goes on trying to let it go")


def _error(
    processes: Processes, shell: Shell, child: subprocess.Popen[bytes], what: str, answer_s: int
) -> HostError:
    """Why the guest was not held; it is let go all the same."""
    timeout_s = _patience(answer_s)
    try:
        processes.finish(child, timeout_s=timeout_s)
    except Finished as ended:
        return HostError(shell.name, what, ended.exit_code, ended.last_line or describe(ended, timeout_s))
    return HostError(shell.name, what, 0, "the host did not say that it is frozen")


def _patience(answer_s: int) -> float:
    return answer_s + _MARGIN_S
