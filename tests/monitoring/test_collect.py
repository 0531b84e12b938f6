"""storpool-addon collect, and `monitor` with what it collected, with a monitord that decodes."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from storpool_addon.lab.command import Command, Result
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import ACTIVE, Record, Vm, Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from tests import tool
from tests.sweep import scene
from tests.tm import cloud

KEPT = "/var/lib/one/collected"
MIB = 1 << 20


class Listener:
    """A monitord: takes connections and datagrams on one port, and keeps what came."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server = _on_a_port_of(self._datagrams)
        self.port = int(self._server.getsockname()[1])
        for take in (self._stream, self._datagram):
            threading.Thread(target=self._until_closed, args=(take,), daemon=True).start()

    def _until_closed(self, take: Callable[[], bytes]) -> None:
        while True:
            try:
                message = take()
            except OSError:
                return
            self.taken.append(message)

    def _stream(self) -> bytes:
        connection, _ = self._server.accept()
        with connection, connection.makefile("rb") as stream:
            return stream.read()

    def _datagram(self) -> bytes:
        return self._datagrams.recv(65536)

    def close(self) -> None:
        for each in (self._server, self._datagrams):
            each.shutdown(socket.SHUT_RDWR) if each is self._server else None
            each.close()

    def told(self) -> dict[str, set[str]]:
        """What has come since the last time: lines by VM."""
        end = time.monotonic() + 5
        while not self.taken and time.monotonic() < end:
            time.sleep(0.01)
        taken, self.taken = self.taken, []
        found: dict[str, set[str]] = {}
        for message in taken:
            match = re.fullmatch(rb"MONITOR_VM SUCCESS -1 0 ([A-Za-z0-9+/=]+)\n", message)
            assert match, message
            payload = zlib.decompress(base64.b64decode(match[1], validate=True)).decode()
            for vm, text in re.findall(r'VM=\[ID="(\d+)",MONITOR="([^"]+)"\]\n', payload):
                found[vm] = set(base64.b64decode(text, validate=True).decode().splitlines())
        return found


def _on_a_port_of(datagrams: socket.socket) -> socket.socket:
    """A server on the port of a socket for datagrams, which is one that nobody else has for connections."""
    for _ in range(100):
        server = socket.create_server(("127.0.0.1", 0))
        try:
            datagrams.bind(server.getsockname())
        except OSError:
            server.close()
        else:
            return server
    raise OSError("no port is free for both")


@contextmanager
def monitord(lab: Lab, **settings: object) -> Iterator[Listener]:
    """One, which the site's configuration names."""
    listener: Listener = lab.hosts.within(Listener)
    settings = {"SP_FE_JSON_PATH": KEPT, "MONITOR_VMSNAPSHOTS": 1, "SP_API_DEADLINE": 1,
                "MONITOR_PORT": listener.port, **settings}  # fmt: skip
    lab.configure(**settings)
    try:
        yield listener
    finally:
        listener.close()


def collect(lab: Lab, *words: str) -> tuple[int, str, str]:
    """What the timer runs: exit code, output, errors."""
    return tool.run(lab, "collect", *words)


def monitor(lab: Lab, datastore: int) -> Result:
    command: Command = next(lab.images.monitor(lab.oned.datastores[datastore]))
    result = lab.run(command)
    assert (result.exit_code, result.stderr) == (0, ""), result
    return result


def kept(lab: Lab) -> Path:
    return Path(lab.hosts.frontend.path(f"{KEPT}/collected.jsonl"))


def change(lab: Lab, what: Callable[[list[str]], list[str]]) -> None:
    lines = kept(lab).read_text().splitlines()
    kept(lab).write_text("\n".join(what(lines)) + "\n")


def aged(seconds: float) -> Callable[[list[str]], list[str]]:
    """The lines as they were so long ago."""

    def change(lines: list[str]) -> list[str]:
        made = []
        for line in lines:
            head, tab, rest = line.partition("\t")
            asked, content = json.loads(rest) if tab else (0, None)
            made.append(f"{head}\t{json.dumps([asked - seconds, content])}" if tab else line)
        return made

    return change


def machine(lab: Lab) -> Vm:
    """A VM with a disk of each kind, and a snapshot of two of them."""
    images = [
        lab.give_image(content=b"\1" * (2 * MIB)),
        lab.give_image(content=b"\1" * MIB, persistent=True),
        lab.give_image(content=b"\1" * MIB, type="CDROM"),
    ]
    vm = scene.machine(lab, *images, Volatile(4), Volatile(4, "swap"))
    lab.do(lab.disk_snapshots.create(vm, 0))
    lab.do(lab.disk_snapshots.create(vm, 1))
    return vm


def expected(lab: Lab, vm: Vm) -> set[str]:
    """What StorPool knows about the disks, found by other means than the driver's."""
    space = {each["name"]: each for call in ("VolumesSpace", "SnapshotsSpace") for each in lab.storpool(call)}
    volumes = ("one-img-7-42-0", "one-img-8", "one-img-9-42-2", "one-sys-42-3-raw", "one-sys-42-4-swap")
    found = set()
    for disk, volume in enumerate(volumes):
        size = -(-space[volume]["spaceUsed"] // MIB)
        found.add(f'DISK_SIZE=[ID="{disk}",SIZE="{size}"]')
        for number in vm.chains[disk].entries if disk in vm.chains else ():
            size = -(-space[f"{volume}-snap{number}"]["spaceUsed"] // MIB)
            found.add(f'SNAPSHOT_SIZE=[ID="{number}",DISK_ID="{disk}",SIZE="{size}"]')
    return found


def test_what_was_collected_is_what_monitor_says(lab: Lab) -> None:
    vm = machine(lab)
    live = {each: monitor(lab, each).stdout for each in (100, 101)}
    with monitord(lab) as listener:
        code, out, err = collect(lab)
        assert (code, out, err) == (0, "1 clusters, 1 VMs, 0 sizes unknown, 0 troubles\n", "")
        assert kept(lab).stat().st_mode & 0o777 == 0o640
        for datastore, figures in live.items():
            result = monitor(lab, datastore)
            assert result.stdout == figures and result.calls == []
        wanted = expected(lab, vm)
        assert listener.told() == {"42": wanted} and len(wanted) == 7
        # Volumes and snapshots are asked for once an hour, capacity each time.
        assert collect(lab)[1] == "1 clusters, disks are not due yet, 0 troubles\n"
        assert collect(lab, "--disks")[1].startswith("1 clusters, 1 VMs")
        # With StorPool away all goes on; once stale, it is asked, and its silence is an error.
        lab.simulator.faults.set([Fault(Verdict("refuse"), times=0)])
        assert monitor(lab, 100).stdout == live[100]
        assert listener.told() == {"42": wanted}
        code, _, err = collect(lab, "--disks")
        assert code == 1 and "VolumeTemplatesStatus" in err and lab.simulator.token not in err
        assert monitor(lab, 101).stdout == live[101]
        monitor(lab, 100)
        assert listener.told() == {"42": wanted}
        change(lab, aged(3 * 3600))
        stale: Command = next(lab.images.monitor(lab.oned.datastores[100]))
        assert "VolumeTemplatesStatus" in cloud.fails(lab, stale)
        lab.simulator.faults.set([])
        # Nor is what a clock that jumped has dated taken.
        for seconds in (0, -9 * 3600):
            change(lab, aged(seconds))
            assert len(monitor(lab, 100).calls) == 1 and listener.taken == []


def test_bad_files_are_said_and_mended(lab: Lab) -> None:
    with monitord(lab) as listener:
        assert collect(lab)[0] == 0
        whole = kept(lab).read_bytes()
        figures = monitor(lab, 101).stdout
        halves = (whole[: len(whole) // 2], whole[:-5], b"{[]}\n" * 3)
        shapes = (
            re.sub(rb'"one-ds-101": \[[^]]*\]', b'"one-ds-101": ["x"]', whole),
            whole.replace(b"one-ds-101", b"a"),
        )
        for bad in (*halves, *shapes):
            kept(lab).write_bytes(bad)
            result = monitor(lab, 101)
            assert result.stdout == figures and len(result.calls) == 1, bad
        kept(lab).write_bytes(halves[0])
        code, _, err = collect(lab)
        assert code == 1 and "is not whole" in err
        assert monitor(lab, 101).calls == [] and collect(lab)[0] == 0
        kept(lab).chmod(0o666)
        assert len(monitor(lab, 101).calls) == 1
        kept(lab).unlink()
        assert len(monitor(lab, 100).calls) == 1 and not listener.taken


def test_datagrams_and_a_monitord_that_is_not_there(lab: Lab) -> None:
    vm = machine(lab)
    with monitord(lab, MONITOR_SEND_UDP=1) as listener:
        assert collect(lab)[0] == 0
        figures = monitor(lab, 100).stdout
        assert listener.told() == {"42": expected(lab, vm)}
    lab.configure(SP_FE_JSON_PATH=KEPT, MONITOR_PORT=listener.port)
    assert monitor(lab, 100).stdout == figures


def test_what_is_wrong_is_counted_and_stops_nothing(lab: Lab) -> None:
    """A cluster that is dead, a VM and a datastore that cannot be read, a VM whose datastore is gone."""
    vm = machine(lab)
    other = lab.oned.add_image_datastore(
        102, "dead", SP_API_HTTP_HOST="127.0.0.1:9", SP_AUTH_TOKEN="12345678"
    )
    bad = lab.oned.add_image_datastore(103, "bad")
    bad.document = lambda **_: "<DATASTORE><ID>x</ID></DATASTORE>"  # type: ignore[method-assign]
    lost = scene.machine(lab, lab.give_image())
    lost.disks[0]["DATASTORE_ID"] = str(other.id)
    broken = scene.machine(lab, lab.give_image())
    broken.disks[0]["DISK_ID"] = "none"
    for datastore_id, driver in ((999, "storpool"), (104, "ssh")):
        elsewhere = lab.oned.add_system_datastore(datastore_id, "elsewhere", tm_mad=driver)
        away = lab.vms.create(lab.give_image())
        away.history.append(Record(0, "node1", 1, elsewhere))
        away.state = ACTIVE
    del lab.oned.datastores[999]
    with monitord(lab) as listener:
        updates: list[Any] = []
        update = lab.rpc.methods.table["one.datastore.update"]
        lab.rpc.methods.table["one.datastore.update"] = lambda *args: updates.append(args) or update(*args)
        code, out, err = collect(lab)
        assert code == 1 and out == "2 clusters, 2 VMs, 1 sizes unknown, 4 troubles\n", (out, err)
        assert "left out: 1 VMs on datastore 999, which is not known" in err
        assert "http://127.0.0.1:9" in err and "left out" in err and f"VM {broken.id}" in err
        assert "12345678" not in err + kept(lab).read_text()
        monitor(lab, 100)
        assert listener.told()["42"] == expected(lab, vm)
        # Templates are told to their datastores, once.
        assert lab.oned.datastores[100].attributes["SP_REPLICATION"] == "3"
        assert {args[0] for args in updates} == {100, 101}
        lab.oned.datastores[101].attributes["SP_PLACEALL"] = "else"
        updates.clear()
        collect(lab)
        assert [(args[0], "SP_PLACEALL" in args[1], "SP_REPLICATION" in args[1]) for args in updates] == [
            (101, True, False)
        ]


def test_only_the_leader_and_only_one(lab: Lab) -> None:
    with monitord(lab):
        for state in (1, 2):
            lab.oned.raft_state = state
            assert collect(lab) == (0, "another front-end leads, which collects\n", "")
            assert not kept(lab).exists()
        lab.oned.raft_state = 3
        gate = threading.Event()
        pool = lab.rpc.methods.table["one.vmpool.infoextended"]

        def slow(*args: Any) -> Any:
            gate.wait(20)
            return pool(*args)

        lab.rpc.methods.table["one.vmpool.infoextended"] = slow
        first = threading.Thread(target=collect, args=(lab,))
        first.start()
        try:
            end = time.monotonic() + 20
            while not kept(lab).exists() and time.monotonic() < end:
                time.sleep(0.02)
            assert "being worked on by process" in collect(lab)[1]
        finally:
            gate.set()
            first.join()
        assert collect(lab)[:2] == (0, "1 clusters, disks are not due yet, 0 troubles\n")
    assert loops(lab)
    lab.oned.raft_state = 2
    for address, leads in (("192.0.2.7", False), ("127.0.0.1", True), ("disabled", True)):
        kept(lab).unlink(missing_ok=True)
        with monitord(lab, RAFT_LEADER_IP=address):
            assert collect(lab)[0] == 0 and kept(lab).exists() == leads


def loops(lab: Lab) -> bool:
    """Whether --loop makes round after round, also when one fails."""
    words = ("--loop", "--every", "0", "--disks", "--jitter", "0.1")
    with monitord(lab), tool.start(lab, "collect", *words) as process:
        assert process.stdout
        try:
            first = process.stdout.readline()
            lab.simulator.faults.set([Fault(Verdict("refuse"), times=0)])
            while process.stdout.readline().endswith("0 troubles\n"):
                pass
            lab.simulator.faults.set([])
            while (last := process.stdout.readline()).endswith("1 troubles\n"):
                pass
        finally:
            process.terminate()
        return first == last == "1 clusters, 0 VMs, 0 sizes unknown, 0 troubles\n"
