"""Measures a scrape of the exporter at a large site, as a process of its own that has just made one."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator

from bench.alone import measured
from bench.limits import SCRAPE_MS
from bench.rows import Row

VMS, CLUSTERS, DATASTORES, HOSTS, ACTIONS, CALLS, ROUNDS = 10_000, 2, 10, 250, 60, 80, 15
NAME = f"exporter/{VMS}-vms"


def measure(only: str) -> Iterator[Row]:
    """One row: a scrape, without the network."""
    if only in NAME:
        yield measured(NAME, "bench.exporter", most={"cpu_ms": SCRAPE_MS})


def _look(home: str) -> dict[str, float]:
    from prometheus_client import CollectorRegistry, generate_latest

    from storpool_addon.cli.scrape import Leading, Scrape
    from storpool_addon.driver import Driver
    from storpool_addon.log import Log

    os.environ.update(HOME=home, ONE_LOCATION=home)
    spool = _site(home)
    registry = CollectorRegistry()
    with Driver(os.environ, Log("bench")) as driver:
        registry.register(Scrape(driver.config, spool, driver.log, Leading(driver)))
        taken_ms = []
        for _ in range(ROUNDS):
            began = time.process_time()
            text = generate_latest(registry)
            taken_ms.append((time.process_time() - began) * 1000)
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    assert series > CLUSTERS * HOSTS + ACTIONS * 10
    return {"cpu_ms": round(statistics.median(taken_ms), 1), "series": series}


def _site(home: str) -> str:
    """What `collect` and the scripts of a large site have left; the directory of the spool."""
    from bench.monitoring import collected_messages
    from storpool_addon.monitoring import cache
    from storpool_addon.monitoring.cache import CENSUS, DISKS, LAST, SPACE, Part
    from storpool_addon.tally import DIRECTORY, Tally

    kept, spool = os.path.join(home, "kept"), os.path.join(home, DIRECTORY)
    os.makedirs(f"{home}/var/remotes")
    with open(f"{home}/var/remotes/addon-storpoolrc", "w") as file:
        file.write(f'SP_FE_JSON_PATH="{kept}"\n')
    os.makedirs(spool)
    clients = [["", client, "rw", 80] for client in range(HOSTS)]
    parts = {(DISKS, "100"): Part.now(key="", messages=collected_messages(VMS))}
    clusters = {}
    for number in range(CLUSTERS):
        url = f"http://192.0.2.{number}:81"
        ids = [str(100 + number * DATASTORES + each) for each in range(DATASTORES)]
        hosts = [["", client, f"node{client}"] for client in range(HOSTS)]
        clusters[url] = {"up": True, "datastores": {each: ["ssd", "system"] for each in ids}, "hosts": hosts}
        templates = [f"one-ds-{each}" for each in ids]
        parts[SPACE, url] = Part.now(
            templates={each: [11 << 40, 10 << 40, 0, 0] for each in templates},
            counts={each: [20 << 40, 7] for each in templates},
        )
        parts[CENSUS, url] = Part.now(
            volumes=[[each, "attached", 1000] for each in templates], snapshots=[], freed=[],
            attachments=clients,
        )  # fmt: skip
    parts[LAST] = Part.now(clusters=clusters, troubles=0, took_s=1.0, fenced=[])
    cache.prepare(kept)
    cache.write(kept, parts)
    for action in range(ACTIONS):
        tally = Tally()
        for call in range(CALLS // 8):
            tally.add(f"Call{(action + call) % CALLS}", 0.1, 0, 0)
        tally.write(home, f"tm/action{action}", action % 3, 0.3)
    return spool


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="storpool-addon-bench-") as made:
        print(json.dumps(_look(made)))
