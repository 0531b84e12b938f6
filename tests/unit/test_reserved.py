"""What is reserved on a host: the real script on trees of many shapes, and on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from storpool_addon.errors import HostError, StateError
from storpool_addon.hosts import resources
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.reserved import Reserved, reserved
from storpool_addon.hosts.shell import Hosts

GIB = 1 << 20
V1_NONE = "9223372036854771712"
V1_CPUSET = "cgroup /sys/fs/cgroup/cpuset cgroup rw,nosuid,cpuset 0 0\n"
V1 = V1_CPUSET + "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
HYBRID = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
Files = dict[str, str]


def slice_v1(name: str, cpus: str = "", limit: int | None = None, mems: str = "") -> Files:
    """A slice in both v1 trees. limit: in GiB."""
    return {
        f"sys/fs/cgroup/cpuset/{name}/cpuset.cpus": cpus,
        f"sys/fs/cgroup/cpuset/{name}/cpuset.mems": mems,
        f"sys/fs/cgroup/memory/{name}/memory.limit_in_bytes": V1_NONE if limit is None else str(limit << 30),
    }


def slice_v2(name: str, cpus: str = "", limit: int | None = None, at: str = "sys/fs/cgroup") -> Files:
    """A slice in the unified tree; without CPUs its cpuset controller is off."""
    found = {f"{at}/{name}/memory.max": "max" if limit is None else str(limit << 30)}
    return {**found, **({f"{at}/{name}/cpuset.cpus.effective": cpus} if cpus else {})}


def v2(root_cpus: str = "0-15") -> Files:
    return {
        "proc/mounts": V2,
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids",
        "sys/fs/cgroup/cpuset.cpus.effective": root_cpus,
    }


def v1() -> Files:
    return {
        "proc/mounts": V1,
        "sys/fs/cgroup/cpuset/cpuset.cpus": "0-15",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NONE,
    }


class Shape(NamedTuple):
    """A host, of 16 CPUs and 64 GiB unless its files say otherwise, and what is to be told of it."""

    files: Files
    cpus: int | None
    gib: float | None
    isolated: str = ""
    note: str = ""
    pinned: bool = False


NODES = {f"sys/devices/system/node/node{n}/meminfo": f"Node {n} MemTotal:  {32 * GIB} kB\n" for n in (0, 1)}
STORPOOL = {**slice_v2("storpool.slice", "0-3", 10), **slice_v2("system.slice", "", 4)}
SHAPES = {
    "v1": Shape({**v1(), **slice_v1("machine.slice", "4-15", 48)}, 400, 16, "0,1,2,3"),
    "v2": Shape({**v2(), **slice_v2("machine.slice", "4-15", 48), **STORPOOL}, 400, 16, "0,1,2,3"),
    "v2 nested": Shape(
        {
            **v2(),
            **slice_v2("hv.slice", "2-15", 40),
            **slice_v2("hv.slice/hv-vms.slice", "2-13", 50),
            **slice_v2("hv.slice/hv-vms.slice/machine.slice"),
        },
        400,
        24,
        "0,1,14,15",
    ),
    "hybrid, controllers in v1": Shape(
        {
            **v1(),
            "proc/mounts": HYBRID + V1,
            **slice_v1("machine.slice", "8-15", 32),
            "sys/fs/cgroup/unified/cgroup.controllers": "",
            **slice_v2("machine.slice", "0-15", None, "sys/fs/cgroup/unified"),
        },
        800,
        32,
        "0,1,2,3,4,5,6,7",
    ),
    "hybrid, memory in v2": Shape(
        {
            **slice_v1("machine.slice", "8-15", 1),
            "proc/mounts": HYBRID + V1_CPUSET,
            "sys/fs/cgroup/unified/cgroup.controllers": "memory",
            **slice_v2("machine.slice", "", 32, "sys/fs/cgroup/unified"),
        },
        800,
        32,
        "0,1,2,3,4,5,6,7",
    ),
    "v1, controllers together": Shape(
        {
            "proc/mounts": "cgroup /cg cgroup rw,cpuset,memory 0 0\n",
            "cg/machine.slice/cpuset.cpus": "0-7\n",
            "cg/machine.slice/memory.limit_in_bytes": str(60 << 30),
        },
        800,
        4,
        "8,9,10,11,12,13,14,15",
    ),
    "no limits at all": Shape(
        {**v2(), **slice_v2("machine.slice")}, 0, 0, note="no slice has a limit of memory"
    ),
    "v1, no limits": Shape(
        {**v1(), **slice_v1("machine.slice")}, 0, 0, note="no slice has a limit of memory"
    ),
    "nothing is set up": Shape(v2(), None, None, note="nothing says which CPUs are for VMs"),
    "v1, nothing is set up": Shape(v1(), None, None, note="nothing says what memory is for VMs"),
    "a limit above all memory": Shape({**v2(), **slice_v2("machine.slice", "0-15", 99)}, 0, 0),
    "no slice of VMs": Shape({**v2(), **STORPOOL}, 400, 15, "0,1,2,3", "the VMs' slice is not there"),
    "a slice without limits, beside StorPool's": Shape(
        {**v2(), **STORPOOL, **slice_v2("machine.slice", "0-15")},
        400,
        15,
        "0,1,2,3",
        "nothing bounds the VMs' CPUs",
    ),
    "StorPool's CPUs are its partition": Shape(
        {**v2("4-15"), **slice_v2("storpool.slice", "0-3", 10), **slice_v2("machine.slice", "", 50)},
        400,
        14,
        "0,1,2,3",
    ),
    "VMs' CPUs are a partition, which no group above has": Shape(
        {
            **v2("0-3"),
            **slice_v2("hv.slice", "0-3", 50),
            **slice_v2("hv.slice/machine.slice", "4-15"),
        },
        400,
        14,
        "0,1,2,3",
    ),
    "shared CPUs": Shape(
        {**v2(), **STORPOOL, **slice_v2("machine.slice", "2-15", 48)}, 200, 16, "0,1", "share CPUs"
    ),
    "others may have more than there is": Shape(
        {
            **v2(),
            **slice_v2("system.slice", "", 40),
            **slice_v2("user.slice", "", 40),
            **slice_v2("machine.slice"),
        },
        0,
        None,
        note="more than the host has: memory is not told",
    ),
    "little for the kernel": Shape(
        {**v2(), **STORPOOL, **slice_v2("machine.slice", "4-15", 50)}, 400, 14, "0,1,2,3", "less than 1 GiB"
    ),
    # lscpu, which OpenNebula counts with, counts CPUs that are offline too.
    "CPUs offline": Shape(
        {**v2("0-11"), **slice_v2("machine.slice", "4-15", 48), "sys/devices/system/cpu/online": "0-11"},
        800,
        16,
        "0,1,2,3",
    ),
    "no CPU of the slice runs": Shape(
        {**v1(), **slice_v1("machine.slice", "12-15", 48), "sys/devices/system/cpu/online": "0-11"},
        1600,
        16,
        ",".join(map(str, range(12))),
        "no CPU that runs",
    ),
    "isolated": Shape(
        {**v2(), **slice_v2("machine.slice", "4-15", 48), "sys/devices/system/cpu/isolated": "2-3,14-15"},
        600,
        16,
        "0,1,2,3,14,15",
    ),
    "isolated, for pinned VMs": Shape(
        {**v2(), **slice_v2("machine.slice", "4-15", 48), "sys/devices/system/cpu/isolated": "8-15"},
        400,
        16,
        "0,1,2,3",
        pinned=True,
    ),
    "all isolated": Shape(
        {**v2(), **slice_v2("machine.slice", "4-15", 48), "sys/devices/system/cpu/isolated": "4-15"},
        400,
        16,
        "0,1,2,3",
        "isolates all CPUs",
    ),
    "one NUMA node": Shape(
        {**v1(), **NODES, **slice_v1("machine.slice", "8-15", 48, "1")}, 800, 32, "0,1,2,3,4,5,6,7"
    ),
    "both NUMA nodes": Shape({**v1(), **NODES, **slice_v1("machine.slice", "0-15", 48, "0-1")}, 0, 16),
    "no memory controller": Shape(
        {**v2(), **slice_v2("machine.slice", "4-15"), "sys/fs/cgroup/cgroup.controllers": "cpuset cpu"},
        400,
        None,
        "0,1,2,3",
        "no memory controller",
    ),
    "no cpuset controller": Shape(
        {**v2(), **slice_v2("machine.slice", "", 48), "sys/fs/cgroup/cgroup.controllers": "memory"},
        None,
        16,
        "",
        "no cpuset controller",
    ),
}


def ask(root: Path, files: Files, *, pinned: bool = False) -> Reserved:
    """What the script finds below `root`."""
    machine = {
        "proc/mounts": "proc /proc proc rw 0 0\n",
        "proc/meminfo": f"MemTotal:       {64 * GIB} kB\nMemFree:  1 kB\n",
        "sys/devices/system/cpu/present": "0-15",
        "sys/devices/system/cpu/online": "0-15",
        "sys/devices/system/cpu/isolated": "",
        "sys/devices/system/memory/block_size_bytes": "40000000",
        **{f"sys/devices/system/memory/memory{n}/state": "online\n" for n in range(66)},
    }
    for path, text in {**machine, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    argv = ["bash", "-c", resources.FACTS, "x", "machine.slice", "storpool.slice", str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return reserved(resources.understood(done.stdout, "machine.slice"), pinned=pinned)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_shapes(tmp_path: Path, shape: Shape) -> None:
    found = ask(tmp_path, shape.files, pinned=shape.pinned)
    wanted = {}
    if shape.cpus is not None:
        wanted.update(RESERVED_CPU=str(shape.cpus), ISOLCPUS=shape.isolated)
    if shape.gib is not None:
        wanted["RESERVED_MEM"] = str(int(shape.gib * GIB))
    assert found.attributes() == wanted
    assert [note for note in found.notes if shape.note and shape.note in note] or not shape.note, found.notes
    assert found.kernel == 2 * GIB
    assert "RESERVED_CPU" not in found.attributes(skip_cpu=True)


def test_without_cgroups(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no cgroup with cpuset or memory"):
        ask(tmp_path, {})


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "online\t0-1\n",
        "memory\tmany\n",
        "memory\t1\nonline\t3-1\n",
        "memory\t1\nonline\t0-99999999999\n",
        "memory\t1\nonline\t0-x\n",
        "memory\t1\nlimit\tlow\n",
    ],
)
def test_what_no_kernel_says(printed: str) -> None:
    with pytest.raises(ValueError):
        resources.understood(printed, "machine.slice")


@pytest.fixture
def here() -> Iterator[Hosts]:
    processes = Processes()
    yield Hosts(processes, "here")
    processes.close()


@contextmanager
def real_slice(name: str) -> Iterator[None]:
    """A slice of this machine: CPU 0 of v1 trees, 1 GiB; an empty one does no harm to anybody."""
    made = []
    try:
        for tree, values in (
            ("cpuset", {"cpuset.cpus": "0", "cpuset.mems": "0"}),
            ("memory", {"memory.limit_in_bytes": str(1 << 30)}),
        ):
            group = f"/sys/fs/cgroup/{tree}/{name}"
            try:
                os.mkdir(group)
            except OSError as error:
                pytest.skip(f"no cgroup can be made here: {error}")
            made.append(group)
            for file, value in values.items():
                Path(f"{group}/{file}").write_text(value)
        yield
    finally:
        for group in made:
            os.rmdir(group)


def test_this_machine(here: Hosts) -> None:
    """Against what the C library says of it."""
    found = reserved(resources.read(here.here, f"none-{os.getpid()}.slice"))
    assert found.cpus >= (os.cpu_count() or 1)
    assert abs(found.memory - os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024) <= 1024
    assert found.usable_kib is None or 0 < found.usable_kib <= found.memory


def test_a_slice_of_this_machine(here: Hosts) -> None:
    name = f"storpool-test-{os.getpid()}.slice"
    with real_slice(name):
        found = reserved(resources.read(here.here, name))
    assert found.usable_cpus == frozenset((0,)) and found.usable_kib == GIB
    assert found.attributes()["RESERVED_CPU"] == str((found.cpus - 1) * 100)
    assert found.attributes()["RESERVED_MEM"] == str(found.memory - GIB)


def test_a_script_that_fails_is_named(here: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sed = tmp_path / "sed"
    sed.write_text("#!/bin/sh\necho no sed today >&2\nexit 1\n")
    sed.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises((HostError, StateError)) as caught:
        resources.read(here.here, "machine.slice")
    assert "here" in str(caught.value) and "CPUs and memory" in str(caught.value)
