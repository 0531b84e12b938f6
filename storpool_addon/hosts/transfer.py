"""A VM's directory on its way to another place: no file is ever half there under its own name."""

from __future__ import annotations

import os
from shlex import quote

from storpool_addon.hosts import vmdir
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell

# A directory holds deployment files, and the guest's memory when it was saved to a file.
TIMEOUT_S = 3600.0
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=5 --"

# What comes is unpacked beside what is there, and takes its place by renames. Files that are there and do not
# come stay: a source that was cut down to a part of itself must not empty the target. The source is removed
# next, maybe on another host: what came is on the disk before it has its name, and its name then too.
_SETTLE = (
    PRELUDE
    + r"""
is_device() { [[ -L $1 && $(readlink -- "$1") == "$devices"?(-byid)/* ]]; }
is_directory() { [[ -d $1 && ! -L $1 ]]; }
settle() {
    local each place
    shopt -s dotglob nullglob
    mkdir -p "$2"
    chmod --reference="$1" "$2"
    for each in "$1"/*; do
        place=$2/${each##*/}
        # The disk's own move has made this link, and may know better than the source.
        if is_device "$each" && is_device "$place"; then continue; fi
        if is_directory "$each" || is_directory "$place"; then rm -rf --one-file-system "$place"; fi
        mv -fT "$each" "$place"
    done
    rm -rf --one-file-system "$1"
}
settle_for_good() { sync -f "$1"; settle "$1" "$2"; sync -f "$2"; }
"""
)
_WITHIN = (
    _SETTLE
    + vmdir.CLEAR
    + r"""
devices=$3
[ -e "$1" ] || exit 0
[ ! "$1" -ef "$2" ] || exit 0
mkdir -p "$2"
if [ "$(stat -c %d "$1")" = "$(stat -c %d "$2")" ]; then settle "$1" "$2"; exit; fi
rm -rf --one-file-system "$2/.incoming"
cp -a "$1" "$2/.incoming"
settle_for_good "$2/.incoming" "$2"
"""
    + vmdir.REMOVE
)
# Exit code 9: the source's mark is seen here, so both hosts have one and the same directory.
_RECEIVE = (
    _SETTLE
    + r"""
devices=$3
[ ! -e "$2" ] || exit 9
mkdir -p "$1"
exec 8<"$1"
# One at a time; a file system that cannot lock a directory does without.
flock 8 || :
rm -rf --one-file-system "$1/.incoming"
mkdir "$1/.incoming"
tar -C "$1/.incoming" --sparse -xf -
settle_for_good "$1/.incoming" "$1"
"""
)
_SEND = (
    PRELUDE
    + f"""
[ -e "$1" ] || exit 0
trap 'rm -f "$4"' EXIT
: >"$4"
set +e
tar -C "$1" --exclude='./.moving-*' --exclude=./.incoming --sparse -cf - . | {_SSH} "$2" "$3"
"""
    + r"""
ends=("${PIPESTATUS[@]}")
[ "${ends[1]}" -ne 9 ] || { echo same; exit 0; }
[ "${ends[1]}" -eq 0 ] || exit "${ends[1]}"
# tar ends with 1 when a file changed under it: the log of a guest that runs on is no reason to fail.
[ "${ends[0]}" -le 1 ] || exit "${ends[0]}"
"""
)
# That the other host is not reached must not look as if this one were: ssh's own code would.
_REMOVE_COPY = (
    PRELUDE
    + vmdir.CLEAR
    + f"""
[ -e "$1" ] || exit 0
mark=$4
trap 'rm -f "$mark"' EXIT
: >"$mark"
ask() {{ {_SSH} "$2" "$3"; }}
seen=$(ask "$@") || {{ sleep 0.2; seen=$(ask "$@"); }} ||
    fail "host $2 cannot be asked from here whether it has the same directory; $1 stays"
rm -f "$mark"
"""
    + r"""
[ "$seen" = no ] || { echo same; exit 0; }
"""
    + vmdir.REMOVE
)
_LOOK = 'if [ -e "$1" ]; then echo yes; else echo no; fi'


def move_within(shell: Shell, source: str, target: str) -> None:
    """Move a VM's directory on one host; done already when the source is not there."""
    words = (vmdir.checked(source), vmdir.checked(target), vmdir.DEVICES)
    shell.run(_WITHIN, *words, what=f"moving {source} to {target}", timeout_s=TIMEOUT_S)


def copy_to(shell: Shell, source: str, target_host: str, target: str) -> bool:
    """Copy a VM's directory from the shell's host straight to another; nothing to do when it is not there.

    False: both hosts have the same directory, on a file system that they share; nothing was done.
    The bytes go from host to host, as with OpenNebula's own ssh driver; the agent is forwarded for that.
    """
    mark = _mark(source)
    seen = mark if source == target else "/dev/null/none"
    receive = _command(_RECEIVE, vmdir.checked(target), seen, vmdir.DEVICES)
    what = f"copying {source} to {target_host}:{target}"
    words = (vmdir.checked(source), target_host, receive, mark)
    return not shell.run(_SEND, *words, what=what, timeout_s=TIMEOUT_S, forward_agent=True).strip()


def remove_copy(shell: Shell, directory: str, other_host: str) -> bool:
    """Remove a VM's directory on one of the two hosts that have it.

    False: the other host sees the same directory, and it stays.
    """
    mark = _mark(directory)
    words = (vmdir.checked(directory), other_host, _command(_LOOK, mark), mark)
    what = f"removing {directory}"
    return not shell.run(_REMOVE_COPY, *words, what=what, timeout_s=TIMEOUT_S, forward_agent=True).strip()


def _mark(directory: str) -> str:
    """A file that no other run makes, by which a directory is known again."""
    return f"{directory}/.moving-{os.urandom(8).hex()}"


def _command(script: str, *words: str) -> str:
    return " ".join(["bash", "-c", *(quote(word) for word in (script, "storpool-addon", *words))])
