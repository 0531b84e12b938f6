"""Every error that an action may end with; the text of each is the line that a person reads in Sunstone.

AddonError
    UsageError                 wrong arguments or standard input (exit code 2)
    ConfigError                a key, a file or an attribute holds what it may not
    StateError                 the world is in a state that forbids the action
    TweakError                 a tweak of a domain could not be made
    OpenNebulaError
        OpenNebulaUnreachable  oned did not answer
        OpenNebulaRefused      oned answered: no
    StorPoolError
        StorPoolUnreachable    no endpoint answered; nothing was done
            StorPoolLost       a request was sent and its answer was lost; it may have been done
        StorPoolRefused        StorPool answered: no (carries its error name)
        StorPoolNonsense       what StorPool answered is not its protocol
    HostError                  a command on a host failed
        HostUnreachable        the host could not be reached, or stopped answering
    ToolError                  a local program (qemu-img, mkfs, …) failed
Terminated                     SIGTERM or SIGINT arrived; no AddonError, so that nothing catches it by chance
"""

from __future__ import annotations

# The exit code of what is none of these.
BUG = 3


class AddonError(Exception):
    """An expected failure: `str()` is one plain line: what failed, on which object, what to do."""

    exit_code = 1


class UsageError(AddonError):
    """The caller's arguments or standard input do not fit the script's protocol."""

    exit_code = 2


class ConfigError(AddonError):
    """A configuration value is not allowed; the text names file, line, key and what is allowed."""


class StateError(AddonError):
    """The state of an object forbids the action."""


class TweakError(AddonError):
    """A tweak of a domain could not be made; the text names it, and why."""


class OpenNebulaError(AddonError):
    """oned could not be asked, or refused."""


class OpenNebulaUnreachable(OpenNebulaError):
    """oned did not answer in time."""


class OpenNebulaRefused(OpenNebulaError):
    """oned answered with an error."""


class StorPoolError(AddonError):
    """StorPool could not be asked, or refused."""


class StorPoolUnreachable(StorPoolError):
    """No endpoint answered before the deadline, and the request was certainly not carried out."""


class StorPoolLost(StorPoolUnreachable):
    """The request was sent and no answer came: it may or may not have been carried out."""


class StorPoolRefused(StorPoolError):
    """StorPool's own error answer.

    name: StorPool's error name, "" when it gave none. Only names that are certain may be branched on.
    descr: StorPool's description. transient: whether StorPool asked to try again.
    """

    def __init__(self, what: str, name: str, descr: str, transient: bool = False) -> None:
        super().__init__(f"StorPool refused {what}: {descr or name or 'no reason given'}")
        self.what = what
        self.name = name
        self.descr = descr
        self.transient = transient


class StorPoolNonsense(StorPoolError):
    """The answer is not StorPool's protocol: truncated, not JSON, or of the wrong shape."""


class HostError(AddonError):
    """A command on a host failed.

    what: what was tried. exit_code_there: the command's exit code, None when it was ended.
    """

    def __init__(self, host: str, what: str, exit_code_there: int | None, last_line: str) -> None:
        code = "" if exit_code_there is None else f" (exit code {exit_code_there})"
        super().__init__(f"{what} on host {host} failed{code}: {last_line or 'no message'}")
        self.host = host
        self.what = what
        self.exit_code_there = exit_code_there
        self.last_line = last_line


class HostUnreachable(HostError):
    """The host could not be reached by ssh, or did not answer before the deadline."""


class ToolError(AddonError):
    """A program that ran on the front-end failed."""


class Terminated(BaseException):
    """SIGTERM or SIGINT: undo what this run began, then end with 128 + signal number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"ended by signal {signal_number}")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
