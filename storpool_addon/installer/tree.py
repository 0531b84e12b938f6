"""Files and links below a directory that plays `/`: compared, and replaced in one step."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from typing import NamedTuple, Optional

from storpool_addon.errors import StateError

# A leftover of a killed run has a fixed name, so that the next run finds it.
_NEW = ".storpool-addon-new"

Owner = Optional[tuple[int, int]]


class Entry(NamedTuple):
    """A file or a symbolic link that is to be there.

    path: absolute, as the installed system sees it. data: content, or the link's target.
    mode: st_mode with the file type. of_oned: it belongs to oned's user, like all of its remotes.
    """

    path: str
    data: bytes
    mode: int
    of_oned: bool = False

    @property
    def digest(self) -> str:
        """What the manifest remembers of the content."""
        return digest(self.data)


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file(path: str, data: bytes, *, executable: bool = False, of_oned: bool = False) -> Entry:
    """An ordinary file: 0755 for a program, 0644 for anything else."""
    return Entry(path, data, stat.S_IFREG | (0o755 if executable else 0o644), of_oned)


def link(path: str, target: str, *, of_oned: bool = False) -> Entry:
    """A symbolic link."""
    return Entry(path, os.fsencode(target), stat.S_IFLNK | 0o777, of_oned)


class Tree:
    """What is below `top` ("" for the machine itself)."""

    def __init__(self, top: str, owner: Owner) -> None:
        self.top = top
        self.owner = owner

    def real(self, path: str) -> str:
        """Where `path` of the installed system is on this machine now."""
        return self.top + path

    def read(self, path: str) -> bytes | None:
        """The content of a file, the target of a link, None when there is nothing."""
        real = self.real(path)
        try:
            if stat.S_ISLNK(os.lstat(real).st_mode):
                return os.fsencode(os.readlink(real))
            with open(real, "rb") as opened:
                return opened.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise StateError(f"{real} is a directory where a file is to be; move it away") from None

    def difference(self, entry: Entry) -> str | None:
        """What is to be done to have the entry: "add", "change", "mode", "owner"; None for nothing."""
        data = self.read(entry.path)
        if data is None:
            return "add"
        now = os.lstat(self.real(entry.path))
        if data != entry.data or stat.S_IFMT(now.st_mode) != stat.S_IFMT(entry.mode):
            return "change"
        if now.st_mode != entry.mode:
            return "mode"
        owner = self.owner if entry.of_oned else None
        return "owner" if owner and (now.st_uid, now.st_gid) != owner else None

    def write(self, entry: Entry, *, durable: bool = False) -> None:
        """Have the entry there, in one step as others see it; durable: its content outlasts a power cut."""
        real = self.real(entry.path)
        self.make_directory(os.path.dirname(entry.path), entry.of_oned)
        new = self._new(real)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        if stat.S_ISLNK(entry.mode):
            os.symlink(entry.data, os.fsencode(new))
        else:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(entry.data)
                if durable:
                    opened.flush()
                    os.fsync(opened.fileno())
                os.fchmod(opened.fileno(), stat.S_IMODE(entry.mode))
        self._give(new, entry.of_oned)
        os.rename(new, real)

    def copy(self, source: str, target: str) -> None:
        """Copy a file or link with mode, owner and time; directories on the way are for our eyes only."""
        os.makedirs(os.path.dirname(self.real(target)), mode=0o700, exist_ok=True)
        new = self._new(self.real(target))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        shutil.copy2(self.real(source), new, follow_symlinks=False)
        if os.geteuid() == 0:
            was = os.lstat(self.real(source))
            os.chown(new, was.st_uid, was.st_gid, follow_symlinks=False)
        os.rename(new, self.real(target))

    def remove(self, path: str) -> None:
        """Have neither the file nor the leftover of a killed run there."""
        for real in (self.real(path), self._new(self.real(path))):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(real)

    def missing_directories(self, path: str) -> list[str]:
        """The directories above `path` that are not there, the highest first."""
        missing: list[str] = []
        while (path := os.path.dirname(path)) not in ("", "/") and not os.path.isdir(self.real(path)):
            missing.insert(0, path)
        return missing

    def make_directory(self, path: str, of_oned: bool = False) -> None:
        """Have a directory there; those that are new get mode 0755."""
        if self.top:
            os.makedirs(self.top, exist_ok=True)
        for each in self.missing_directories(path + "/x"):
            os.mkdir(self.real(each))
            os.chmod(self.real(each), 0o755)
            self._give(self.real(each), of_oned)

    def remove_directory(self, path: str) -> None:
        """Remove a directory when it is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(self.real(path))

    def _give(self, real: str, of_oned: bool) -> None:
        if of_oned and self.owner:
            os.chown(real, *self.owner, follow_symlinks=False)

    @staticmethod
    def _new(real: str) -> str:
        directory, name = os.path.split(real)
        return f"{directory}/.{name}{_NEW}"
