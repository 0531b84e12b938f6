"""The start of a domain by OpenNebula's own deploy, and the documents that others expect on the host."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.errors import HostError
from storpool_addon.hosts import stock
from storpool_addon.hosts.shell import Shell

# oned writes the time into the domain's metadata each time that it makes a deployment file: the domain that
# runs with this one was started by a run of ours whose answer was lost. Documents come before the domain,
# their sizes as words; with the modes that OpenNebula's own driver leaves them.
_DEPLOY = (
    stock.BEGIN
    + r"""
name=$1 time=$2 vm_size=$3 datastore_size=$4
shift 4
case $(tell domstate "$name" 2>/dev/null) in running | paused | idle)
    if [ -n "$time" ] && [[ $(tell dumpxml "$name") == *"deployment_time>$time<"* ]]; then
        exec virsh --connect "$uri" domuuid "$name" </dev/null
    fi
    fail "domain $name runs there already, from another start of the VM; see to that guest first" ;;
esac
put() { head -c "$2" >"$1.new"; mv -f -- "$1.new" "$1"; }
put "$home/vm.xml" "$vm_size"
put "$home/ds.xml" "$datastore_size"
stock deploy "$@"
"""
)


class Deployment(NamedTuple):
    """A domain to start, in the words of OpenNebula's deploy.

    remotes: SCRIPTS_REMOTE_DIR. home: the VM's directory on the host. name: of the domain. time: when oned
    made the deployment file, "" when it does not say. vm, datastore: documents of oned, plain.
    """

    remotes: str
    home: str
    name: str
    time: str
    words: tuple[str, ...]
    domain: bytes
    vm: bytes
    datastore: bytes


def start(shell: Shell, deployment: Deployment) -> str:
    """Start the domain, unless this deployment has started it; the id that OpenNebula is to know it by."""
    what = f"starting domain {deployment.name}"
    sizes = (str(len(deployment.vm)), str(len(deployment.datastore)))
    printed = stock.run(
        shell,
        _DEPLOY,
        deployment.remotes,
        deployment.home,
        *(deployment.name, deployment.time, *sizes, *deployment.words),
        what=what,
        stdin=deployment.vm + deployment.datastore + deployment.domain,
    )
    lines = printed.split()
    if not lines:
        raise HostError(shell.name, what, None, "OpenNebula's deploy did not say the id of the domain")
    return lines[-1]
