"""One installation: brought to what a checkout holds, compared with it, or taken away again."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple

from storpool_addon.installer import manifest as record
from storpool_addon.installer import modules
from storpool_addon.installer.layout import Layout
from storpool_addon.installer.manifest import Manifest
from storpool_addon.installer.release import CONFIG, SWITCHES, Release
from storpool_addon.installer.tree import Entry, Tree, digest, file

Say = Callable[[str], None]


class Change(NamedTuple):
    """What is to be done about an entry: "add", "change", "mode" or "owner"."""

    verb: str
    entry: Entry


class Installation:
    """The driver below one root. With `act` false nothing is touched and `say` tells what would be done."""

    def __init__(self, tree: Tree, where: Layout, say: Say, *, act: bool = True, diffs: bool = False) -> None:
        self._tree = tree
        self._where = where
        self._say = say
        self._act = act
        self._diffs = diffs
        self._made: list[str] = []

    def install(self, new: Release, config: bytes) -> int:
        """Have a whole release there, and keep the site's configuration; the number of changes."""
        with self._lock():
            old = record.load(self._tree, self._where.manifest)
            known = {**self._known_config(old, config), **self._left_to_the_site(old, new)}
            entries = [*(e for e in new.entries if e.path not in known), *self._config(old, config)]
            changes = [Change(verb, e) for e in entries if (verb := self._tree.difference(e))]
            retained, obsolete = self._older(old, new, {e.path for e in entries} | set(known))
            stale = self._stale_byte_code(new)
            self._report(new, changes, obsolete, stale)
            count = len(changes) + len(obsolete) + len(stale)
            if self._act and (count or new.name != old.release):
                self._bring_about(old, new, entries, changes, obsolete, {**retained, **known})
        return count

    def uninstall(self) -> int:
        """Take away what we installed and bring back what it replaced; the number of changes."""
        if self._tree.read(self._where.manifest) is None:
            return 0
        with self._lock():
            old = record.load(self._tree, self._where.manifest)
            count = sum([self._take_away(old, path) for path in sorted(old.files)])
            count += sum([self._bring_back(path) for path in old.replaced])
            if self._act:
                self._clear(old)
        return count

    def strangers(self, new: Release) -> list[str]:
        """Files in our two driver directories that are not of this release: another addon's, or a site's."""
        ours = {entry.path for entry in new.entries}
        found = []
        for directory in ("tm/storpool", "datastore/storpool"):
            top = f"{self._where.remotes}/{directory}"
            with contextlib.suppress(FileNotFoundError):
                found += [f"{directory}/{name}" for name in sorted(os.listdir(self._tree.real(top)))
                          if f"{top}/{name}" not in ours and not name.startswith((".", "__"))]  # fmt: skip
        return found

    # --- the configuration file, which is the site's once it differs from every default of ours ---

    def _config(self, old: Manifest, default: bytes) -> Iterator[Entry]:
        path = f"{self._where.remotes}/{CONFIG}"
        now = self._tree.read(path)
        if now is None or (now != default and old.wrote(path, digest(now))):
            yield file(path, default, of_oned=True)
        elif now != default:
            self._say(
                f"keep    {self._tree.real(path)} (changed by the site; the default is in {CONFIG}.dist)"
            )
            yield file(f"{path}.dist", default, of_oned=True)

    def _known_config(self, old: Manifest, default: bytes) -> dict[str, list[str]]:
        path = f"{self._where.remotes}/{CONFIG}"
        same = self._tree.read(path) in (None, default)
        return {path: [digest(default)] if same else old.files.get(path, [])}

    # --- directories whose files switch something on: made once, and the site's from then on ---

    def _left_to_the_site(self, old: Manifest, new: Release) -> dict[str, list[str]]:
        """Files of such a directory that are not to be written, with what we wrote there before."""
        left = {}
        for entry in new.entries:
            directory = os.path.dirname(entry.path)
            if not directory.endswith(SWITCHES):
                continue
            ours = directory in old.directories or not os.path.isdir(self._tree.real(directory))
            removed = entry.path in old.files and old.release
            if not ours or removed or self._tree.read(entry.path) is not None:
                left[entry.path] = old.files.get(entry.path, [])
        return left

    # --- what is to be done ---

    def _older(self, old: Manifest, new: Release, paths: set[str]) -> tuple[dict[str, list[str]], list[str]]:
        """What stays of the release before, for processes that began in it, and what goes."""
        previous = old.previous if new.name == old.release else old.release
        keep = f"{self._where.releases}/{previous}/"
        gone = [path for path in old.files if path not in paths]
        retained = {path: old.files[path] for path in gone if previous and path.startswith(keep)}
        return retained, [path for path in gone if path not in retained]

    def _stale_byte_code(self, new: Release) -> list[str]:
        sources = [
            e.path for e in new.entries if e.path.endswith(".py") and e.path.startswith(self._where.releases)
        ]
        return [path for path in sources if not modules.is_compiled(self._tree.real(path))]

    def _report(
        self, new: Release, changes: Sequence[Change], obsolete: Sequence[str], stale: Sequence[str]
    ) -> None:
        package = f"{self._where.releases}/{new.name}"
        written = [change for change in changes if change.entry.path.startswith(package)]
        if written:
            self._say(f"add     {self._tree.real(package)} ({len(written)} files)")
        for verb, entry in changes:
            if not entry.path.startswith(package):
                self._say(f"{verb:7} {self._tree.real(entry.path)}")
                self._show_difference(verb, entry)
        for path in obsolete:
            self._say(f"remove  {self._tree.real(path)}")
        if stale:
            self._say(f"compile {len(stale)} modules")

    def _show_difference(self, verb: str, entry: Entry) -> None:
        if not self._diffs or verb != "change":
            return
        before = (self._tree.read(entry.path) or b"").decode("utf-8", "replace").splitlines()
        after = entry.data.decode("utf-8", "replace").splitlines()
        for line in difflib.unified_diff(
            before, after, f"{entry.path} (now)", f"{entry.path} (new)", lineterm=""
        ):
            self._say(line)

    # --- doing it ---

    def _bring_about(
        self, old: Manifest, new: Release, entries: Sequence[Entry], changes: Sequence[Change],
        obsolete: Sequence[str], known: dict[str, list[str]],
    ) -> None:  # fmt: skip
        tree = self._tree
        replaced = self._keep_copies(old, changes)
        directories = dict.fromkeys([*old.directories, *self._made, self._where.home])
        for entry in entries:
            directories.update(dict.fromkeys(tree.missing_directories(entry.path)))
        final = Manifest(
            files={**known, **{e.path: [e.digest] for e in entries}},
            directories=sorted(directories),
            replaced=replaced,
            release=new.name,
            previous=old.previous if new.name == old.release else old.release,
        )
        # First what we are about to write: nothing that a killed run left is a stranger's to the next.
        either = {p: [*old.files.get(p, []), *final.files.get(p, [])] for p in {**old.files, **final.files}}
        record.save(
            tree,
            self._where.manifest,
            final._replace(files=either, release=old.release, previous=old.previous),
        )
        for change in changes:
            tree.write(change.entry)
        modules.compile_all((tree.real(path), path) for path in self._stale_byte_code(new))
        for path in obsolete:
            self._remove(path)
        for directory in reversed(final.directories):
            tree.remove_directory(directory)
        record.save(tree, self._where.manifest, final)

    def _keep_copies(self, old: Manifest, changes: Sequence[Change]) -> list[str]:
        """Copy what others put where we are about to write; the paths where something was before us."""
        replaced = list(old.replaced)
        for verb, entry in changes:
            now = self._tree.read(entry.path)
            if verb != "change" or now is None or old.wrote(entry.path, digest(now)):
                continue
            if entry.path not in old.files:
                self._tree.copy(entry.path, self._copy_of(entry.path))
                replaced.append(entry.path)
            elif now != self._tree.read(self._copy_of(entry.path)):  # else a killed run has kept it
                self._tree.copy(entry.path, f"{self._where.home}/site-changes{entry.path}")
                self._say(f"copied  the site's changes of it to {self._where.home}/site-changes")
        return replaced

    def _copy_of(self, path: str) -> str:
        return f"{self._where.home}/replaced{path}"

    def _take_away(self, old: Manifest, path: str) -> bool:
        now = self._tree.read(path)
        if now is None or (path in old.replaced and now == self._tree.read(self._copy_of(path))):
            return False
        if not old.wrote(path, digest(now)):
            self._say(f"keep    {self._tree.real(path)} (changed by the site)")
            return False
        if not path.startswith(self._where.releases):
            self._say(f"remove  {self._tree.real(path)}")
        if self._act:
            self._remove(path)
        return True

    def _bring_back(self, path: str) -> bool:
        copy = self._copy_of(path)
        if self._tree.read(copy) is None or (self._act and self._tree.read(path) is not None):
            return False
        self._say(f"restore {self._tree.real(path)}")
        if self._act:
            self._tree.copy(copy, path)
        return True

    def _remove(self, path: str) -> None:
        self._tree.remove(path)
        if path.endswith(".py"):
            directory, name = os.path.split(self._tree.real(path))
            for compiled in glob.glob(f"{glob.escape(directory)}/__pycache__/{glob.escape(name[:-3])}.*.pyc"):
                os.unlink(compiled)
            with contextlib.suppress(OSError):
                os.rmdir(f"{directory}/__pycache__")

    def _clear(self, old: Manifest) -> None:
        """Remove the record, and every directory of ours that is empty then."""
        home = self._tree.real(self._where.home)
        for name in ("dependencies", "dependencies.new"):
            shutil.rmtree(f"{home}/{name}", ignore_errors=True)
        for path in reversed(old.directories):
            self._tree.remove_directory(path)
        # The record goes after all that it names, so that a killed run can be repeated.
        self._tree.remove(self._where.manifest)
        for path in old.replaced:
            if self._tree.read(path) == self._tree.read(self._copy_of(path)):
                self._tree.remove(self._copy_of(path))
        for directory, _, _ in os.walk(home, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        for path in reversed(old.directories):
            self._tree.remove_directory(path)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Two installations at the same time take turns."""
        if not self._act:
            yield
            return
        home = self._tree.real(self._where.home)
        self._made = self._tree.missing_directories(f"{self._where.home}/x")
        self._tree.make_directory(self._where.home)
        handle = os.open(home, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
