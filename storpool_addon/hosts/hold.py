"""A guest that a script on its host holds until the script's input ends: we are done with it, or dead."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

from storpool_addon.errors import HostError
from storpool_addon.hosts.process import Finished, Processes, describe
from storpool_addon.hosts.shell import Shell

# The script's own exit codes for "held for too long, and let go", and "could not be let go".
_LATE, NOT_LET_GO = 75, 76

# For a script that says in let_go how the guest goes on. watched_by: what looks after the guest when the
# script cannot any more has a session of its own, which outlives connection and script; from then on let_go
# is called however the script ends. timeout ends a script by a signal to it and one to all of its group: the
# second must not cut the end short. hold: its word, and for how many seconds.
HOLD = rf"""
trap '' PIPE
trap 'trap "" TERM HUP INT; exit 143' TERM HUP INT
finish() {{
    code=$?
    trap '' TERM HUP INT
    trap - EXIT
    if let_go; then kill -KILL -- "-$watcher" 2>/dev/null || true; else code={NOT_LET_GO}; fi
    exit "$code"
}}
watched_by() {{
    setsid bash -c "$@" </dev/null >/dev/null 2>&1 &
    watcher=$!
    trap finish EXIT
}}
hold() {{
    local code=0
    echo "$1"
    # bash: more than 128 when the time was over, 1 at the end of the input.
    read -r -t "$2" _ || code=$?
    [ "$code" -le 128 ] || exit {_LATE}
}}
"""


class Hold(NamedTuple):
    """Such a script while it runs. what: the words for its failure. patience_s: what its end may take."""

    processes: Processes
    shell: Shell
    child: subprocess.Popen[bytes]
    what: str
    patience_s: float

    @classmethod
    def begin(
        cls,
        processes: Processes,
        shell: Shell,
        script: str,
        *words: str,
        what: str,
        timeout_s: float,
        patience_s: float,
    ) -> Hold:
        """Start it. words: "$1" and the following. timeout_s: after which its host ends it."""
        argv = shell.command(script, *words, timeout_s=timeout_s)
        return cls(processes, shell, processes.start(argv, stdin=subprocess.PIPE), what, patience_s)

    def end(self) -> HostError | None:
        """End its input, upon which the guest goes on; what went wrong, if anything did."""
        try:
            self.processes.finish(self.child, timeout_s=self.patience_s)
        except Finished as ended:
            late = ended.exit_code == _LATE
            last_line = (
                "it took too long, and the guest was let go before the end" if late else ended.last_line
            )
            return self.error(ended.exit_code, last_line or describe(ended, self.patience_s))
        return None

    def error(self, exit_code: int | None, last_line: str) -> HostError:
        """What failed, and how."""
        return HostError(self.shell.name, self.what, exit_code, last_line)
