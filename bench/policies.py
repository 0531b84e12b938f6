"""Measures how volumes are found whose policies differ, from what StorPool and oned answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

from bench.alone import measured
from bench.limits import POLICIES_S
from bench.monitoring import DISKS, Free, answer, pages
from bench.rows import Row

VMS, EVERY = 10_000, 100
NAME = f"policies/{VMS * DISKS}-volumes"


def measure(only: str) -> Iterator[Row]:
    """One row: CPU time, of a process of its own."""
    if only in NAME:
        yield measured(NAME, "bench.policies", most={"cpu_s": POLICIES_S})


def _look() -> dict[str, float]:
    from storpool_addon.config import Config
    from storpool_addon.errors import OpenNebulaError
    from storpool_addon.monitoring.policies import Cloud, drift, targets
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.opennebula.policy import VmPolicy, policies
    from storpool_addon.opennebula.xml import parse
    from storpool_addon.storpool.streaming import elements

    began = time.process_time()
    volumes, pool = Free(_volumes()), Free(_pool())
    vms: dict[int, VmPolicy] = {}
    for page in pool:
        for vm in policies(parse(page, "pool", OpenNebulaError)):
            assert isinstance(vm, VmPolicy)
            vms[vm.id] = vm
    config = Config()
    document = "<DATASTORE><ID>%d</ID><TM_MAD>storpool</TM_MAD></DATASTORE>"
    stores = {number: Datastore.from_node(parse((document % number).encode())) for number in (100, 101)}
    cloud = Cloud(config, stores, vms, {})
    listed = list(targets(elements(iter(volumes), "VolumesList"), config))
    differing = [each for each in listed if drift(cloud, each)]
    taken_s = time.process_time() - began - volumes.cpu_s - pool.cpu_s
    assert len(listed) == VMS * DISKS and len(differing) == len(listed) // EVERY
    return {"cpu_s": round(taken_s, 2), "volumes": len(listed), "differing": len(differing)}


def _volumes() -> Iterator[bytes]:
    """The list of volumes, all of which have a policy and a class."""
    for chunk in answer(VMS, False):
        yield chunk.replace(b'"type":"NPERS"', b'"type":"NPERS","vc-policy":"daily","qc":"gold"')


def _pool() -> Iterator[bytes]:
    """The pool of VMs; one of a hundred asks for another policy."""

    def asked(match: re.Match[bytes]) -> bytes:
        policy = b"weekly" if int(match[1]) % EVERY == 0 else b"daily"
        asking = b"<VC_POLICY>%b</VC_POLICY><SP_QOSCLASS>silver;0:gold;1:gold</SP_QOSCLASS>" % policy
        return match[0] + asking

    for page in pages(VMS):
        yield re.sub(rb"<VM><ID>(\d+)</ID>.*?<USER_TEMPLATE>", asked, page)


if __name__ == "__main__":
    print(json.dumps(_look()))
