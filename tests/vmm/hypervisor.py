"""libvirt as programs of the hosts see it: a domain per host, and OpenNebula's own scripts over it, in short.

Real ones are in tests/kvm; these stand at the wire where a test needs an order, a failure or a lost answer.
"""

from __future__ import annotations

import base64
import os

from storpool_addon.lab.command import Command
from storpool_addon.lab.documents import element, elements
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm

DIRECTORY = "/var/tmp/libvirt"
# One domain: its XML in `domain`, its disks in `disks`. Records of calls are where no picture of a world has
# them; `fail-WORD` there: that many calls of the word fail.
RECORDS = "/var/lib/one/vms/libvirt"
VIRSH = r"""#!/bin/bash
r=/var/lib/one/vms/libvirt; mkdir -p /var/tmp/libvirt $r; cd /var/tmp/libvirt
if [[ $2 == qemu+ssh://* ]]; then
    host=${2#*//}; exec ssh "${host%/system}" virsh --connect qemu:///system "${@:3}"
fi
[ "$1" = --connect ] && shift 2
echo "$*" >>$r/calls
why() { echo "error: $1" >&2; exit 1; }
if [ -s "$r/fail-$1" ]; then sed -i 1d "$r/fail-$1"; why "$1 was told to fail"; fi
case $1 in uri | create | list | restore | save-image-dumpxml) ;; *)
    [ -e domain ] || why "failed to get domain '$2'";;
esac
case $1 in
    domstate) echo running;;
    list) [ ! -e domain ] || echo "$(cat uuid) one-42";;
    migrate) host=${4#*//} all="$*" new=domain; [[ $all != *--xml* ]] || new=${all##*--xml }
        ssh "${host%/system}" "mkdir -p $PWD; cat >$PWD/domain; echo $3 >$PWD/uuid" <"$new"; rm domain;;
    domuuid) grep -o '<uuid>[^<]*' domain | cut -c 7-;;
    dumpxml) [[ $* == *--security-info* ]] && cat domain || sed "s/ passwd='[^']*'//" domain;;
    domblklist) printf ' Type Device Target Source\n-----\n'; cat disks 2>/dev/null || true;;
    change-media)
        if [ "$5" = --insert ]; then sed -i "s| $3 -| $3 $4|" disks; else sed -i "s| $3 .*| $3 -|" disks; fi;;
    create) [ ! -e domain ] || why "domain already exists"; cp "$2" domain;;
    save) printf LibvirtQemudSave | dd of="$3" conv=notrunc status=none; cat domain >saved; rm domain;;
    save-image-dumpxml) [ "$(head -c 16 "$2" | tr -d '\0')" = LibvirtQemudSave ] || why "no image";;
    restore) [ "$(head -c 16 "$2" | tr -d '\0')" = LibvirtQemudSave ] || why "no image"
        [ ! -e domain ] || why "domain is active"; echo "<domain/>" >domain;;
esac
"""
_HEAD = r"""#!/bin/bash
r=/var/lib/one/vms/libvirt; mkdir -p $r
printf '%s' "$(basename "$0")" >>$r/scripts; printf ' %s' "${@:1:7}" >>$r/scripts
echo >>$r/scripts
cat >$r/stdin
failed() { printf 'ERROR MESSAGE --8<------\nCould not do it\nERROR MESSAGE ------>8--\n' >&2; exit -1; }
v() { virsh --connect qemu:///system "$@"; }
"""
# OpenNebula's, of what they do: what the domain and the checkpoint see.
SCRIPTS = {
    "attach_disk": 'base64 -d <<<"$5" | cmp - $r/stdin || failed\n'
    'echo " block disk $3 $2" >>/var/tmp/libvirt/disks\n',
    "detach_disk": 'cd /var/tmp/libvirt; grep -q " $3 " disks || failed; sed -i "/ $3 /d" disks\n',
    "save": '[ ! -f "$2" ] || [ -L "$2" ] || mv "$2" "$2.1"\nv save "$1" "$2" || failed\n',
    "restore": 'v save-image-dumpxml "$1" >"$1.xml" && v restore "$1" || failed\nrm "$1" "$1.xml"\n',
    "migrate": 'v migrate --live "$1" "qemu+ssh://$2/system" || failed\n',
    "deploy": 'cp $r/stdin "$1"; v create "$1" || failed; v domuuid one-42\n',
}


class Hypervisor:
    """What is to be seen and said on the nodes of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        path = os.path.join(lab.directory, "hostbin", "virsh")
        with open(path, "w") as file:
            file.write(VIRSH)
        os.chmod(path, 0o755)
        for host in lab.hosts.nodes.values():
            for name, text in SCRIPTS.items():
                host.write(f"/var/tmp/one/vmm/kvm/{name}", _HEAD + text, 0o755)

    def runs(self, host: str, *disks: str, uuid: str = "0-0") -> None:
        """A domain runs on the host. disks: lines of domblklist."""
        self.write(host, "domain", f"<domain><uuid>{uuid}</uuid></domain>")
        self.write(host, "uuid", uuid)
        self.write(host, "disks", "".join(f" {disk}\n" for disk in disks))

    def ends(self, host: str) -> None:
        """The domain ends."""
        os.unlink(self.lab.hosts.nodes[host].path(f"{DIRECTORY}/domain"))

    def goes_wrong(self, host: str, word: str, times: int = 1) -> None:
        """The next calls of a word of virsh fail."""
        self.write(host, f"fail-{word}", "x\n" * times)

    def write(self, host: str, name: str, text: str) -> None:
        self.lab.hosts.nodes[host].write(_path(name), text)

    def read(self, host: str, name: str) -> str:
        """A record; "" when there is none."""
        try:
            with open(self.lab.hosts.nodes[host].path(_path(name))) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def disks(self, host: str) -> list[str]:
        return [line.strip() for line in self.read(host, "disks").splitlines()]

    def scripts(self, host: str) -> list[str]:
        """OpenNebula's scripts that were run, the last with its words; the record begins anew."""
        lines = self.read(host, "scripts").splitlines()
        self.write(host, "scripts", "")
        return lines


def _path(name: str) -> str:
    is_state = name in ("domain", "disks", "uuid")
    return f"{DIRECTORY if is_state else RECORDS}/{name}"


def action(lab: Lab, vm: Vm, script: str, *args: object) -> Command:
    """A local action of the VM driver, as one_vmm_exec starts it: VM and host come last."""
    document = element(
        "VMM_DRIVER_ACTION_DATA",
        elements(HOST=vm.here.host, MIGR_HOST="", DEPLOY_ID=vm.deploy_id),
        vm.document(lab.oned.version, whole_history=False),
        vm.here.system.document(),
    )
    words = (*map(str, args), str(vm.id), vm.here.host)
    return Command(f"vmm/kvm/{script}", words, base64.b64encode(document.encode()))
