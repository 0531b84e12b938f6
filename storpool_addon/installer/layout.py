"""Where the installed driver lives, and the interpreter that its scripts name in their first line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from storpool_addon.errors import ConfigError

# Linux reads 256 bytes of a script for its first line (BINPRM_BUF_SIZE, include/uapi/linux/binfmts.h).
MAX_SHEBANG = 255
PYTHON_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Layout(NamedTuple):
    """The directories of one installation, as the installed system sees them; none ends in a slash.

    home: our private directory. bin: where the command is linked. remotes and etc: OpenNebula's. units:
    systemd's.
    """

    home: str
    bin: str
    remotes: str
    etc: str
    units: str

    @property
    def python(self) -> str:
        """The private environment's interpreter."""
        return f"{self.home}/bin/python3"

    @property
    def site_packages(self) -> str:
        """Where the private environment looks for modules and `.pth` files."""
        return f"{self.home}/lib/python{PYTHON_VERSION}/site-packages"

    @property
    def releases(self) -> str:
        """One directory per release of the package, named by its content."""
        return f"{self.home}/releases"

    @property
    def manifest(self) -> str:
        """The record of what was installed."""
        return f"{self.home}/manifest.json"

    @property
    def shebang(self) -> str:
        """The first line of an installed script, without its line end."""
        return f"#!{self.python} -I"


def layout(root: str, prefix: str, environ: Mapping[str, str]) -> Layout:
    """The layout below `root` ("" for the machine itself); ONE_LOCATION names a self-contained OpenNebula.

    Raises ConfigError when no script could name the interpreter in its first line.
    """
    root = "" if root in ("", "/") else os.path.abspath(root)
    prefix = os.path.normpath("/" + prefix.strip("/"))
    own = environ.get("ONE_LOCATION", "").rstrip("/")
    found = Layout(
        home=f"{root}{prefix}/lib/storpool-addon",
        bin=f"{root}{prefix}/bin",
        remotes=f"{root}{own}/var/remotes" if own else f"{root}/var/lib/one/remotes",
        etc=f"{root}{own}/etc" if own else f"{root}/etc/one",
        units=f"{root}{prefix}/lib/systemd/system",
    )
    _check_shebang(found)
    return found


def base_interpreter() -> str:
    """The interpreter that the private environment stands on: the one that runs us, seen through any venv."""
    versioned = os.path.join(sys.base_prefix, "bin", f"python{PYTHON_VERSION}")
    return versioned if os.access(versioned, os.X_OK) else os.path.realpath(sys.executable)


def _check_shebang(found: Layout) -> None:
    if any(character.isspace() for character in found.python):
        raise ConfigError(
            f"{found.home} contains a blank, which the first line of a script cannot hold; "
            "choose another --root or --prefix"
        )
    length = len(os.fsencode(found.shebang)) + 1
    if length > MAX_SHEBANG:
        raise ConfigError(
            f"{found.home} is too long: the first line of a script would have {length} bytes and Linux "
            f"reads {MAX_SHEBANG}; choose a shorter --root or --prefix"
        )
