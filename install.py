#!/usr/bin/env python3
"""Installs the StorPool driver on an OpenNebula front-end: `install.py --help`."""

# Up to the check of the version this file is written so that Python 3.6 reads it and says what is wrong.
import sys

if sys.version_info < (3, 9):
    sys.exit(
        "install.py needs Python 3.9 or newer and runs under {}.{}; run it as: python3.9 install.py".format(
            *sys.version_info[:2]
        )
    )

import argparse
import contextlib
import grp
import os
import pwd

# A checkout is not to fill with files of root; and its package, not an installed one, does the work.
sys.dont_write_bytecode = True
CHECKOUT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, CHECKOUT)

from storpool_addon.errors import AddonError, ConfigError, ToolError
from storpool_addon.installer import modules, oned_conf
from storpool_addon.installer.installation import Installation
from storpool_addon.installer.layout import Layout, base_interpreter, layout
from storpool_addon.installer.release import default_config, release
from storpool_addon.installer.tree import Owner, Tree


def main() -> int:
    """Do what the arguments say; the exit code."""
    given = arguments()
    os.umask(0o022)
    try:
        where = layout(given.root, given.prefix, os.environ)
        tree = Tree(given.stage.rstrip("/"), owner(given.owner))
        return uninstall(given, where, tree) if given.uninstall else install(given, where, tree)
    except AddonError as error:
        print(f"install.py: {error}", file=sys.stderr)
    except OSError as error:
        print(f"install.py: {error}; what was done so far is sound, run it again", file=sys.stderr)
    return 1


def install(given: argparse.Namespace, where: Layout, tree: Tree) -> int:
    """Install, or with --dry-run or --check say what would change."""
    act = not (given.dry_run or given.check)
    new = release(CHECKOUT, where, base_interpreter(), module_directories(given, where, tree))
    installation = Installation(tree, where, print, act=act, diffs=given.dry_run)
    count = installation.install(new, default_config(CHECKOUT))
    print("nothing to do" if not count else f"{count} changes{'' if act else ' to be made'}")
    strangers = installation.strangers(new)
    if strangers:
        print(f"note: not of this driver, left as they are: {' '.join(strangers)}")
    if act and count and not given.stage:
        try_out(where, tree)
    print_advice(tree.real(where.etc), tree.real(where.remotes))
    return 1 if given.check and count else 0


def uninstall(given: argparse.Namespace, where: Layout, tree: Tree) -> int:
    """Take away what was installed, or say what would go."""
    act = not (given.dry_run or given.check)
    count = Installation(tree, where, print, act=act).uninstall()
    print("nothing to do" if not count else f"{count} changes{'' if act else ' to be made'}")
    return 1 if given.check and count else 0


def module_directories(given: argparse.Namespace, where: Layout, tree: Tree) -> list[str]:
    """Where the modules of others are; with --with-dependencies pip puts them there first."""
    own = f"{where.home}/dependencies"
    if given.with_dependencies and not (given.dry_run or given.check or os.path.isdir(tree.real(own))):
        modules.install(base_interpreter(), tree.real(own))
    if given.with_dependencies or os.path.isdir(tree.real(own)):
        return [own]
    return modules.directories(base_interpreter())


def try_out(where: Layout, tree: Tree) -> None:
    """Say when the installed driver does not run as oned's user."""
    try:
        modules.try_out(where.python, tree.owner)
    except ToolError as error:
        print(f"note: {error}")


def print_advice(etc: str, remotes: str) -> None:
    """Name what OpenNebula's configuration lacks; it is the site's, so nothing is changed there."""
    try:
        found = oned_conf.advice(etc, remotes)
    except OSError as error:
        print(f"note: {etc}/oned.conf was not checked ({error.strerror})")
        return
    for file, why, text in found:
        print(f"{file}: {why}; put:\n    {text}")
    if found:
        print("after that: systemctl restart opennebula")


def owner(name: str) -> Owner:
    """User and group id of oned's user; None when we are not root or there is no such user."""
    user, _, group = name.partition(":")
    with contextlib.suppress(KeyError):
        found = pwd.getpwnam(user)
        group_id = grp.getgrnam(group).gr_gid if group else found.pw_gid
        return (found.pw_uid, group_id) if os.geteuid() == 0 else None
    if name != DEFAULT_OWNER:
        raise ConfigError(f"--owner {name}: there is no such user or group")
    return None


DEFAULT_OWNER = "oneadmin:oneadmin"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="", metavar="DIR", help="have everything below DIR, and run there")
    parser.add_argument(
        "--prefix", default="/usr", metavar="DIR", help="where lib/storpool-addon goes (/usr)"
    )
    parser.add_argument("--stage", default="", metavar="DIR", help="write below DIR for a package to be made")
    parser.add_argument(
        "--owner", default=DEFAULT_OWNER, metavar="USER:GROUP", help="of the scripts (%(default)s)"
    )
    parser.add_argument("--with-dependencies", action="store_true", help="have pip install what is needed")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="show what would change and change nothing")
    what.add_argument("--check", action="store_true", help="exit with 1 when something would change")
    parser.add_argument("--uninstall", action="store_true", help="take away what was installed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
