"""Measures a report about all VMs: from what StorPool and oned answer to what monitord is sent."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Callable

from bench.alone import measured
from bench.limits import MONITOR_MS, REPORT
from bench.rows import Row
from bench.world import Failed, World
from storpool_addon.monitoring import cache

DISKS, SNAPSHOTS_OF_A_DISK, PAGE = 2, 2, 200
_CHUNK = 1 << 20
MONITOR, MONITORED = "tm/monitor disks", 10_000
_KEPT = "/var/lib/one/collected"
_SUMMARY = (
    '{"name":"%s","globalId":"d.n.%x","id":%d,"visibleVolumeId":%d,"size":10737418240,"objectsCount":320,'
    '"replication":3,"parentName":"one-img-7@%d","parentVolumeId":4709,"originalParentVolumeId":4709,'
    '"templateName":"one-ds-101","templateId":3,"placeAll":"hdd","placeTail":"ssd","placeHead":"hdd","bw":"-",'
    '"iops":"-","limitType":"total","reuseServer":false,"creationTimestamp":1718000000,"flags":0,'
    '"firstNotParentObjectId":0,"tags":{"virt":"one","nloc":"one","nvm":"%d","type":"NPERS","diskid":"0"},'
    '"storedSize":%d,"spaceUsed":%d}'
)


def name_of(vms: int) -> str:
    """What the report is called among the results."""
    return f"report/{vms}-vms"


NAMES = (MONITOR, *map(name_of, REPORT))


def measure(only: str) -> Iterator[Row]:
    """A row for each size: CPU time and the most memory, of a process of its own."""
    for vms, (most_s, most_mib) in REPORT.items():
        if only in name_of(vms):
            most = {"cpu_s": most_s, "rss_mib": most_mib}
            yield measured(name_of(vms), "bench.monitoring", str(vms), most=most)


class Free:
    """What `source` gives, with the CPU time that the making of it takes."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self.cpu_s = 0.0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            began = time.process_time()
            made = next(self._source, None)
            self.cpu_s += time.process_time() - began
            if made is None:
                return
            yield made


def measure_monitor(world: World, rounds: int, only: str, say: Callable[[str], None]) -> Iterator[Row]:
    """`monitor` of a system datastore as a process, that sends monitord what was collected of many VMs."""
    if only not in MONITOR:
        return
    lab = world.lab
    host, port, _ = lab.simulator.endpoint
    figures = {"templates": {"one-ds-100": [11 << 40, 10 << 40, 0, 0]}}
    directory = lab.hosts.frontend.path(_KEPT)
    os.makedirs(directory)
    content = {"key": "", "messages": collected_messages(MONITORED)}
    cache.write(
        directory,
        {
            (cache.SPACE, f"http://{host}:{port}"): cache.Part.now(**figures),
            (cache.DISKS, "100"): cache.Part.now(**content),
        },
    )
    sink = lab.hosts.within(lambda: socket.create_server(("127.0.0.1", 0), backlog=128))
    lab.configure(SP_FE_JSON_PATH=_KEPT, MONITOR_PORT=sink.getsockname()[1])
    taken: list[int] = []
    threading.Thread(target=_take, args=(sink, taken), daemon=True).start()
    command = next(lab.images.monitor(lab.oned.datastores[100]))
    taken_ms = []
    for number in range(rounds):
        say(f"monitor, round {number + 1} of {rounds}")
        taken_ms.append(world.script(command).ms)
    lab.configure()
    sink.close()
    if sum(taken) < rounds * sum(map(len, content["messages"])):
        raise Failed("monitor did not send what was collected")
    yield monitor_row(taken_ms)


def monitor_row(taken_ms: Sequence[float]) -> Row:
    """taken_ms: of each round, the whole process."""
    median_ms = statistics.median(taken_ms)
    times = {"median_ms": round(median_ms, 1), "longest_ms": round(max(taken_ms), 1)}
    return Row({"name": MONITOR, "vms": MONITORED, **times}, ("median_ms",) if median_ms > MONITOR_MS else ())


def _take(sink: socket.socket, taken: list[int]) -> None:
    """Be monitord: one message in each connection."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = sink.accept()
            with connection, connection.makefile("rb") as stream:
                taken.append(len(stream.read()))


def _report(vms: int) -> tuple[dict[str, float], list[str]]:
    """What it took, and the messages."""
    from storpool_addon.errors import OpenNebulaError
    from storpool_addon.monitoring.message import Messages
    from storpool_addon.monitoring.report import Rules, Told, told
    from storpool_addon.monitoring.sizes import Sizes, Wanted
    from storpool_addon.opennebula.usage import usages
    from storpool_addon.opennebula.xml import parse
    from storpool_addon.storpool.streaming import elements

    began = time.process_time()
    sources = [Free(answer(vms, snapshots)) for snapshots in (False, True)]
    sizes = Sizes(Wanted("one-", "nloc", "one"))
    for source in sources:
        sizes.add(elements(iter(source), "a list"))
    rules = Rules("one", {100: sizes.of, 101: sizes.of}, vm_snapshots=True)
    made = Messages(None)
    pool = Free(pages(vms))
    lines = 0
    for page in pool:
        for each in told(usages(parse(page, "pool", OpenNebulaError)), rules):
            assert isinstance(each, Told) and not each.unknown
            made.add(each.line)
            lines += 1
    packed = made.packed()
    assert lines == vms and len(sizes) == vms * DISKS * (1 + SNAPSHOTS_OF_A_DISK)
    taken_s = time.process_time() - began - sum(each.cpu_s for each in (*sources, pool))
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sent_mib = sum(map(len, packed)) / (1 << 20)
    taken = {"cpu_s": round(taken_s, 2), "rss_mib": round(rss_mib, 1), "sent_mib": round(sent_mib, 2)}
    return taken, packed


def collected_messages(vms: int) -> list[str]:
    """What monitord is sent about so many VMs."""
    return _report(vms)[1]


def answer(vms: int, snapshots: bool) -> Iterator[bytes]:
    """An answer of StorPool as it arrives."""
    endings = [f"-snap{number}" for number in range(SNAPSHOTS_OF_A_DISK)] if snapshots else [""]
    text, comma = '{"generation":80123,"data":[', ""
    number = 0
    for vm in range(vms):
        for disk in range(DISKS):
            for ending in endings:
                number += 1
                name = f"one-img-{7 + disk}-{vm}-{disk}{ending}"
                used = (number * 7919 % 10240) << 20
                text += comma + _SUMMARY % (name, number, number, number, number, vm, used, used)
                comma = ","
        if len(text) > _CHUNK:
            yield text.encode()
            text = ""
    yield (text + "]}").encode()


def pages(vms: int) -> Iterator[bytes]:
    """The pool of VMs as oned pages it."""
    for first in range(0, vms, PAGE):
        yield page_from(first, vms).encode()


def page_from(first: int, vms: int) -> str:
    """The page that begins with the VM of that number."""
    return f"<VM_POOL>{''.join(map(_vm, range(first, min(first + PAGE, vms))))}</VM_POOL>"


def _vm(vm: int) -> str:
    disks = "".join(_disk(disk) for disk in range(DISKS))
    chains = "".join(
        f"<SNAPSHOTS><DISK_ID><![CDATA[{disk}]]></DISK_ID>"
        + "".join(
            f"<SNAPSHOT><ACTIVE>NO</ACTIVE><DATE>1769001{n:03}</DATE><ID>{n}</ID><PARENT>-1</PARENT><SIZE>10240</SIZE></SNAPSHOT>"
            for n in range(SNAPSHOTS_OF_A_DISK)
        )
        + "</SNAPSHOTS>"
        for disk in range(DISKS)
    )
    filler = "".join(
        f"<T_KEY_{n}><![CDATA[what users write down about their VM {n}]]></T_KEY_{n}>" for n in range(12)
    )
    return (
        f"<VM><ID>{vm}</ID><UID>2</UID><GID>1</GID><UNAME>alice</UNAME><GNAME>users</GNAME><NAME>web-{vm}</NAME>"
        "<STATE>3</STATE><LCM_STATE>3</LCM_STATE><DEPLOY_ID>0b3dd5c5-7a2e-45ea-a4a3-a7e1a6e6a5a0</DEPLOY_ID>"
        "<MONITORING><CPU><![CDATA[3.5]]></CPU><MEMORY><![CDATA[4194304]]></MEMORY></MONITORING>"
        f"<TEMPLATE><CPU><![CDATA[2]]></CPU>{disks}<MEMORY><![CDATA[4096]]></MEMORY></TEMPLATE>"
        f"<USER_TEMPLATE>{filler}</USER_TEMPLATE><HISTORY_RECORDS><HISTORY><OID>{vm}</OID><SEQ>0</SEQ>"
        "<HOSTNAME>node1</HOSTNAME><HID>1</HID><CID>0</CID><STIME>1769001000</STIME><ETIME>0</ETIME>"
        "<VM_MAD><![CDATA[kvm]]></VM_MAD><TM_MAD><![CDATA[storpool]]></TM_MAD><DS_ID>100</DS_ID></HISTORY>"
        f"</HISTORY_RECORDS>{chains}</VM>"
    )


def _disk(disk: int) -> str:
    image = 7 + disk
    values = {
        "ALLOW_ORPHANS": "YES", "CACHE": "none", "CLONE": "YES", "CLONE_TARGET": "SELF", "CLUSTER_ID": 0,
        "DATASTORE": "sp-images", "DATASTORE_ID": 101, "DEV_PREFIX": "vd", "DISCARD": "unmap",
        "DISK_ID": disk,
        "DISK_SNAPSHOT_TOTAL_SIZE": 20480, "DISK_TYPE": "BLOCK", "DRIVER": "raw", "FORMAT": "raw",
        "IMAGE": "ubuntu", "IMAGE_ID": image, "IMAGE_STATE": 2, "IMAGE_UNAME": "alice", "IO": "native",
        "LN_TARGET": "NONE", "ORIGINAL_SIZE": 10240, "PERSISTENT_SNAPSHOTS": "YES", "READONLY": "NO",
        "SAVE": "NO", "SIZE": 20480, "SOURCE": f"one-ds-101/one-img-{image}", "TARGET": "vda",
        "TM_MAD": "storpool", "TYPE": "BLOCK",
    }  # fmt: skip
    return (
        "<DISK>" + "".join(f"<{key}><![CDATA[{value}]]></{key}>" for key, value in values.items()) + "</DISK>"
    )


if __name__ == "__main__":
    print(json.dumps(_report(int(sys.argv[1]))[0]))
