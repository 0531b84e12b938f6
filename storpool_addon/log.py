"""The driver's log: syslog, under the tag that the bash addon used, so that a site's filters keep working."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

LOG_FILE = "/var/log/one/addon-storpool.log"
_TRUTHY = ("1", "Y", "YES", "T", "TRUE", "ON")
# The tag's first word, by the directory that a script lies in.
_PARTS = {"tm": "tm", "datastore": "ds", "vmm": "vmm", "volumecare": "vc", "hooks": "hook", "im": "im"}


class Log:
    """Lines of `[pid] text`. A log that cannot be written never fails an action."""

    def __init__(self, tag: str, file: str | None = None) -> None:
        self.tag = tag
        self.file = file
        self._opened = False

    @classmethod
    def for_script(cls, path: str, environ: Mapping[str, str]) -> Log:
        """The log of an entry script: `…/tm/storpool/clone` logs as `tm_sp_clone`."""
        file = LOG_FILE if environ.get("LOG_TO_FILE", "").upper() in _TRUTHY else None
        return cls(tag_of(path), file)

    def __call__(self, text: str) -> None:
        """One entry; control characters become blanks, so that a name from outside cannot forge a line."""
        plain = "".join(char if char.isprintable() else " " for char in text)
        line = f"[{os.getpid()}] {plain.encode('utf-8', 'replace').decode()}"
        self._to_syslog(line)
        if self.file:
            self._to_file(line, self.file)

    def bug(self, argv: Sequence[str]) -> None:
        """The exception that is being handled, where it came from, and what the script was called with."""
        import traceback

        self(f"bug while running {list(argv)}")
        for line in traceback.format_exc().splitlines():
            self(line)

    def _to_syslog(self, line: str) -> None:
        import syslog

        if not self._opened:
            syslog.openlog(self.tag, 0, syslog.LOG_USER)
            self._opened = True
        # What logger(1) uses, and so what the bash addon used.
        syslog.syslog(syslog.LOG_NOTICE, line)

    def _to_file(self, line: str, file: str) -> None:
        import time

        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        except OSError:
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {self.tag}{line}\n")


def tag_of(path: str) -> str:
    """`tm_sp_clone` for `/var/lib/one/remotes/tm/storpool/clone`; `misc_sp_…` for what lies elsewhere."""
    *directories, script = path.split("/")
    for directory in reversed(directories):
        if directory in _PARTS:
            return f"{_PARTS[directory]}_sp_{script}"
    return f"misc_sp_{script}"
