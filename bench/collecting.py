"""Measures a round of `storpool-addon collect`: the process, with a simulated cluster and a pool of VMs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from bench.limits import COLLECT_API, COLLECT_RPC, Counts
from bench.monitoring import DISKS, PAGE, SNAPSHOTS_OF_A_DISK, page_from
from bench.rows import Row
from bench.world import Failed, install
from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.population import add

# VMs; each has two disks with two snapshots each.
SIZES = (10_000, 100_000)
_TIMEOUT_S = 900.0
_BATCH = 1000
# Prints what the program took, behind what it said.
_TAKEN = (
    "import json,resource,subprocess,sys;code=subprocess.call(sys.argv[1:]);"
    "taken=resource.getrusage(resource.RUSAGE_CHILDREN);"
    "print(json.dumps([taken.ru_utime+taken.ru_stime,taken.ru_maxrss/1024]));sys.exit(code)"
)


def name_of(vms: int) -> str:
    """What the round is called among the results."""
    return f"collect/{vms}-vms"


NAMES = tuple(map(name_of, SIZES))


def measure(directory: str, only: str, say: Callable[[str], None]) -> Iterator[Row]:
    """A row for each size: CPU time, memory and calls of the process. A large one takes minutes, and is
    only measured when it is asked for.
    """
    chosen = [vms for vms in SIZES if only in name_of(vms)] if only else SIZES[:1]
    if not chosen:
        return
    os.makedirs(directory)
    tree = install(os.path.join(directory, "tree"))
    for vms in chosen:
        say(f"a cloud of {vms} VMs")
        with Lab(os.path.join(directory, str(vms)), tree) as lab:
            _fill(lab, vms)
            say(f"collecting of {vms} VMs")
            yield _row(lab, vms)


def _fill(lab: Lab, vms: int) -> None:
    cluster = lab.simulator.cluster
    for first in range(0, vms, _BATCH):
        with cluster.lock, cluster.change():
            for vm in range(first, min(first + _BATCH, vms)):
                for disk in range(DISKS):
                    _add_disk(cluster, f"one-img-{7 + disk}-{vm}-{disk}")
    lab.rpc.methods.table["one.vmpool.infoextended"] = lambda _filter, start, *_: page_from(start, vms)


def _add_disk(cluster: Cluster, name: str) -> None:
    parent = ""
    for number in range(SNAPSHOTS_OF_A_DISK):
        parent = add(cluster, f"{name}-snap{number}", parent, snapshot=True)
    add(cluster, name, parent, snapshot=False)


def _row(lab: Lab, vms: int) -> Row:
    program = str(next(Path(lab.tree).rglob("lib/storpool-addon/bin/storpool-addon")))
    argv = (program, "collect", "--disks")
    run = lab.run(Command(f"../../../..{sys.executable}", ("-I", "-c", _TAKEN, *argv)), timeout_s=_TIMEOUT_S)
    said = re.search(rf"{vms} VMs, 0 sizes unknown, 0 troubles", run.stdout)
    if run.exit_code or not said:
        raise Failed(f"collect: exit code {run.exit_code}: {run.stdout} {run.stderr.strip()}")
    cpu_s, rss_mib = json.loads(run.stdout.splitlines()[-1])
    counts = Counts.of(run.calls)
    times = {"seconds": round(run.seconds, 1), "cpu_s": round(cpu_s, 2), "rss_mib": round(rss_mib, 1)}
    most = {"api": COLLECT_API, "rpc": COLLECT_RPC + vms // PAGE}
    over = tuple(name for name, limit in most.items() if getattr(counts, name) > limit)
    return Row({"name": name_of(vms), **times, "api": counts.api, "rpc": counts.rpc}, over)
