"""What every bash script on a host begins with."""

from __future__ import annotations

# An ordinary user's ssh session has no sbin on its PATH, where mkfs and mkswap are.
# StorPool answers an attach when the device is there; udev's link to it may come a moment later.
PRELUDE = r"""
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
fail() { echo "$1" >&2; exit 1; }
wait_for() {
    for _ in {1..100}; do [ -e "$1" ] && return; sleep 0.1; done
    fail "$1 did not appear within 10 s; is the volume attached to this host?"
}
"""
