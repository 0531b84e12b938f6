"""The live migration of a domain by OpenNebula's own migrate, with a changed domain for the other host."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.hosts import stock
from storpool_addon.hosts.shell import Shell

# OpenNebula's migrate destroys the domain on the target when virsh fails, which it also does where the guest
# has arrived already: it is not called before both hosts were asked.
_WHERE = (
    stock.BEGIN
    + r"""
domain=$1 target=$2
there=$(set +eu; [ ! -r "$kvmrc" ] || . "$kvmrc" >/dev/null 2>&1; echo "${QEMU_PROTOCOL:-qemu+ssh}")://$target/system
at() { LC_ALL=C virsh --connect "$1" "${@:2}" </dev/null; }
has() {
    local list
    list=$(at "$1" list --uuid --name) || fail "libvirt at $1 cannot be asked"
    [[ " ${list//$'\n'/ } " == *" $domain "* ]]
}
here= arrived=
if has "$uri"; then here=1; fi
if has "$there"; then arrived=1; fi
if [ -n "$here$arrived" ] && [ "$here" = "$arrived" ]; then
    states="$(tell domstate "$domain" | head -n 1) here, "
    states+="$(at "$there" domstate "$domain" | head -n 1) on $target"
    fail "$domain is on both hosts ($states): a migration is under way, or one was cut off; see to it first"
fi
[ -n "$here$arrived" ] || fail "$domain is on neither host"
"""
)
# With the password of its console: the one on the target would be open to all without.
_SHOW = (
    _WHERE
    + r"""
[ -n "$here" ] || exit 0
tell dumpxml --migratable --security-info "$domain"
"""
)
# What stands in the place of virsh adds its words to the one call that migrates; OpenNebula's script does all
# else. It is Ruby, which takes programs from PATH; the words are one per line.
_MIGRATE = (
    _WHERE
    + r"""
size=$3 sync=$4
shift 4
place=$(mktemp -d)
trap 'rm -rf -- "$place"' EXIT
head -c "$size" >"$place/domain.xml"
document=$(cat)
while [ $# -gt 0 ] && [ "$1" != -- ]; do printf '%s\n' "$1" >>"$place/words"; shift; done
shift
if [ "$size" -gt 0 ]; then printf '%s\n' --xml "$place/domain.xml" >>"$place/words"; fi
if [ -n "$here" ] && [ -e "$place/words" ]; then
    cat >"$place/virsh" <<'EOF'
#!/bin/bash
place=${0%/*} PATH=${PATH//"${0%/*}:"/}
if [ "${3-}" = migrate ]; then
    touch "$place/used"
    mapfile -t more <"$place/words"
    set -- "$@" "${more[@]}"
fi
exec virsh "$@"
EOF
    chmod 755 "$place/virsh"
    PATH=$place:$PATH stock migrate "$@" <<<"$document"
    [ -e "$place/used" ] || echo unused
elif [ -n "$here" ]; then
    stock migrate "$@" <<<"$document"
fi
if [ -n "$sync" ]; then
    for _ in 1 2 3 4; do
        ! timeout 20 virsh --connect "$there" domtime --sync "$domain" || break
        sleep 5
    done </dev/null >/dev/null 2>&1 9>&- &
fi
"""
)


class Migration(NamedTuple):
    """A migration, in the words of OpenNebula's migrate.

    remotes: SCRIPTS_REMOTE_DIR. home: the VM's directory. options: more words for `virsh migrate`.
    sync_time: the guest's clock is set on the target.
    """

    remotes: str
    home: str
    domain: str
    target: str
    words: tuple[str, ...]
    options: tuple[str, ...]
    sync_time: bool
    document: bytes


def domain_on_source(shell: Shell, wanted: Migration) -> bytes:
    """The domain as it may be changed for the migration; empty when it has arrived on the target already."""
    what = f"looking at domain {wanted.domain} before its migration"
    words = (wanted.domain, wanted.target)
    shown = stock.run(
        shell, _SHOW, wanted.remotes, wanted.home, *words, what=what, timeout_s=60.0, forward_agent=True
    )
    return shown.encode()


def migrate(shell: Shell, wanted: Migration, domain: bytes) -> bool:
    """Migrate, with that domain for the target if there is one; whether OpenNebula's script used it."""
    sync = "1" if wanted.sync_time else ""
    printed = stock.run(
        shell,
        _MIGRATE,
        wanted.remotes,
        wanted.home,
        *(wanted.domain, wanted.target, str(len(domain)), sync, *wanted.options, "--", *wanted.words),
        what=f"migrating domain {wanted.domain} to {wanted.target}",
        timeout_s=stock.MEMORY_TIMEOUT_S,
        stdin=domain + wanted.document,
        forward_agent=True,
    )
    return "unused" not in printed.split()
