"""A guest on a host without libvirt: a program in the place of virsh that keeps its state in files.

It is about domains, not about disks: memory is one line of text, which a save writes to the device.
"""

from __future__ import annotations

from pathlib import Path

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm

VIRSH = r"""#!/bin/bash
cd "$place" || { echo "error: failed to connect to the hypervisor" >&2; exit 1; }
[ "$1" = --connect ] && shift 2
echo "$1 $(date +%s.%N)" >>calls
if [ -s "fail-$1" ]; then sed -i 1d "fail-$1"; echo "error: $1 was refused" >&2; exit 1; fi
gone() { [ -e running ] || { echo "error: failed to get domain '$1'" >&2; exit 1; }; }
case $1 in
    uri) echo qemu:///system;;
    domstate) gone "$2"; echo running;;
    domjobinfo) [ ! -s job ] || { sed -i 1d job; echo "Job type: Unbounded"; exit; }
        echo "Job type:         None";;
    dumpxml) gone "${@: -1}"; echo "<domain><name>$(cat running)</name></domain>";;
    destroy) gone "$2"; rm running memory;;
    create) [ ! -e running ] && grep -q '<domain>' "$2" || exit 1
        echo "$domain" >running; echo booted >memory;;
    save) gone "$2"; [ ! -s job ] || exit 1
        echo "LibvirtQemudSave $(cat memory)" | dd of="$3" conv=notrunc status=none; rm running;;
    save-image-dumpxml) head -c 16 "${@: -1}" | grep -q LibvirtQemudSave || exit 1
        echo "<domain><disk file='/x/99/42/disk.0'/></domain>";;
    restore) [ ! -e running ] || exit 1
        echo "$domain" >running
        head -n 1 "$2" | cut -d ' ' -f 2- >memory; [ "$3" != --xml ] || cp "$4" restored-xml;;
esac
"""
# Words that change nothing.
ASKS = ("uri", "domstate", "domjobinfo", "save-image-dumpxml")


class Guest:
    """The guest of a VM that runs; its memory says so."""

    def __init__(self, lab: Lab, vm: Vm) -> None:
        self._place = Path(lab.directory, "libvirt")
        self._place.mkdir(exist_ok=True)
        for each in self._place.iterdir():
            each.unlink()
        program = Path(lab.directory, "hostbin", "virsh")
        program.unlink(missing_ok=True)
        program.write_text(VIRSH.replace("$domain", vm.deploy_id).replace("$place", str(self._place)))
        program.chmod(0o755)
        self._file("running").write_text(f"{vm.deploy_id}\n")
        self._file("memory").write_text("first\n")

    @property
    def memory(self) -> str:
        """What is in its memory; "" when it does not run."""
        return self._file("memory").read_text().strip() if self._file("running").exists() else ""

    @property
    def words(self) -> list[str]:
        """What virsh was asked to do, in order."""
        return [word for word, _ in self.calls()]

    def calls(self) -> list[tuple[str, float]]:
        """The same, and when."""
        path = self._file("calls")
        lines = path.read_text().splitlines() if path.exists() else []
        found = [(line.split()[0], float(line.split()[1])) for line in lines]
        return [each for each in found if each[0] not in ASKS]

    def remembers(self, text: str) -> None:
        """Something else is in its memory from now on."""
        self._file("memory").write_text(f"{text}\n")

    def is_busy(self, times: int) -> None:
        """libvirt has a job of it under way, and says so that often."""
        self._file("job").write_text("x\n" * times)

    @property
    def restored_from(self) -> str:
        """The domain that libvirt was given with the memory."""
        return self._file("restored-xml").read_text().strip()

    def refuses(self, word: str, times: int = 1) -> None:
        """virsh fails that often when it is asked for this."""
        self._file(f"fail-{word}").write_text("x\n" * times)

    def _file(self, name: str) -> Path:
        return self._place / name
