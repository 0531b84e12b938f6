"""storpool-addon exporter, scraped by a real Prometheus after real actions."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.config import Config
from storpool_addon.lab.lab import ENVIRONMENT, Lab
from storpool_addon.lab.machine import Volatile
from storpool_addon.monitoring import cache
from storpool_addon.monitoring.cache import CENSUS, LAST, SPACE, Part
from storpool_addon.monitoring.metrics import collected, driver, policies
from storpool_addon.monitoring.metrics.collected import Rules
from storpool_addon.simulator.faults import Fault, Verdict
from tests.monitoring.prometheus import ALERTS, EXAMPLES, Prometheus, free_port, names_in, promtool, running
from tests.programs import needs
from tests.sweep import scene

KEPT = "/var/lib/one/collected"
TABLES = {**collected.TABLE, **policies.TABLE, **driver.TABLE}


def words(lab: Lab, *words: str) -> list[str]:
    """The administrator's command on the front-end."""
    program = next(Path(lab.tree).rglob("bin/storpool-addon"))
    return lab.hosts.action_argv([str(program), *words], ENVIRONMENT, "/var/lib/one")


def run(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(lab, *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def exporter(lab: Lab, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process, answering."""
    with subprocess.Popen(words(lab, "exporter", "--listen", f"127.0.0.1:{port}")) as process:
        try:
            end = time.monotonic() + 30
            while True:
                try:
                    scrape(port)
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < end
                    time.sleep(0.1)
            yield process
        finally:
            process.terminate()


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / "grafana/storpool.json").read_text())
    return found


def asked_by_the_dashboard() -> list[str]:
    """Its expressions, with its variables as Grafana fills them in."""
    found = [each["expr"] for panel in dashboard()["panels"] for each in panel.get("targets", ())]
    variables = {"$instance": ".*", "$datastore": ".*", "$__rate_interval": "1m"}
    for name, value in variables.items():
        found = [each.replace(name, value) for each in found]
    return found


def expected(lab: Lab, what: str) -> Counter[tuple[str, str]]:
    """Volumes or snapshots by datastore and state, out of StorPool itself."""
    attached = {each["volume"] for each in lab.storpool("AttachmentsList")}
    found: Counter[tuple[str, str]] = Counter()
    for each in lab.storpool(what):
        if what == "VolumesList":
            state = "attached" if each["name"] in attached else "detached"
        else:
            state = "deleted" if "deleted" in each["tags"] else "kept"
        found[each["templateName"].rpartition("-")[2], state] += 1
    return found


def shown(prometheus: Prometheus, metric: str) -> Counter[tuple[str, str]]:
    return Counter(
        {
            (dict(labels)["datastore"], dict(labels)["state"]): int(value)
            for labels, value in prometheus.query(metric).items()
        }
    )


@needs("prometheus", "promtool")
def test_a_real_prometheus_sees_what_storpool_has(lab: Lab, tmp_path: Path) -> None:
    port = free_port()
    with exporter(lab, port) as process, running(tmp_path / "prometheus", port) as prometheus:
        vm = scene.machine(lab, lab.give_image(content=b"1" * 8192), Volatile(8))
        vm.user_attributes["VC_POLICY"] = "daily"
        gone = scene.machine(lab, lab.give_image(content=b"2" * 8192), Volatile(8))
        lab.do(lab.disk_snapshots.create(vm, 0))
        lab.storpool("VolumeUpdate/one-img-7-42-0", {"tags": {"qc": "else"}})
        # One call is answered at the second attempt; one action fails.
        lab.simulator.faults.set([Fault(Verdict("refuse"), query="VolumesReassignWait")])
        lab.do(lab.vms.terminate(gone))
        lab.simulator.faults.set([])
        missing = next(lab.images.monitor(lab.oned.add_image_datastore(109, "no-template")))
        assert lab.run(missing).exit_code == 1
        del lab.oned.datastores[109]
        assert run(lab, "policies").returncode == 0
        lab.oned.hosts[2].attributes["SP_FENCED"] = "2026-11-21 by oneadmin"
        assert run(lab, "collect").returncode == 0
        prometheus.wait('up{job="storpool"}', 1)
        prometheus.wait('storpool_driver_actions_total{action="cli/collect",outcome="ok"}', 1)
        prometheus.wait("storpool_addon_leader", 1)
        agrees(lab, prometheus)
        every_expression_is_answered(prometheus)
        text = scrape(port)
        assert lab.simulator.token not in text and promtool("check", "metrics", given=text) == ""
        the_last_round_is_shown_until_the_next_ends(lab)
        lab.oned.raft_state = 2
        assert "storpool_addon_leader 0.0\n" in run(lab, "exporter", "--once").stdout
        lives_on(lab, prometheus, port)
        assert process.poll() is None
        taken = run(lab, "exporter", "--listen", f"127.0.0.1:{port}")
        assert taken.returncode == 1 and "cannot be listened on: Address already in use" in taken.stderr
    # Where nothing can be kept for the exporter, policies are set all the same.
    lab.configure(SP_FE_JSON_PATH="/proc/none")
    assert run(lab, "policies").returncode == 0


def agrees(lab: Lab, prometheus: Prometheus) -> None:
    """What Prometheus has is what StorPool has, and what was done."""
    states, snapshots = expected(lab, "VolumesList"), expected(lab, "SnapshotsList")
    assert +shown(prometheus, "storpool_datastore_volumes") == states and len(states) >= 3
    assert +shown(prometheus, "storpool_datastore_snapshots") == snapshots
    assert snapshots["101", "deleted"] == 1 and snapshots["100", "deleted"] == 1
    space = {each["name"]: each for each in lab.storpool("SnapshotsSpace")}
    freed = sum(each["spaceUsed"] for each in space.values() if "deleted" in each["tags"])
    assert freed and sum(prometheus.query("storpool_datastore_pending_delete_bytes").values()) == freed
    for status in lab.storpool("VolumeTemplatesStatus"):
        datastore = f'{{datastore="{status["name"].rpartition("-")[2]}"}}'
        stored = status["stored"]
        for name, value in (
            ("capacity", stored["capacity"]),
            ("free", stored["free"]),
            ("used", stored["capacity"] - stored["free"]),
            ("provisioned", status["size"]),
        ):
            assert list(prometheus.query(f"storpool_datastore_{name}_bytes{datastore}").values()) == [value]
    clients = {
        (dict(labels)["host"], dict(labels)["client"]): value
        for labels, value in prometheus.query("storpool_client_attachments").items()
    }
    assert clients == {("node1", "11"): len(lab.storpool("AttachmentsList"))}
    values = {
        'storpool_driver_actions_total{action="tm/delete",outcome="ok"}': 3,
        'storpool_driver_actions_total{action="datastore/monitor",outcome="failed"}': 1,
        'storpool_driver_action_retries_total{action="tm/delete"}': 1,
        'storpool_driver_call_retries_total{call="VolumesReassignWait"}': 1,
        'storpool_driver_action_duration_seconds_bucket{action="tm/delete",le="+Inf"}': 3,
        'storpool_policies_drift{object="volume",tag="qc"}': 1,
        'sum(storpool_policies_drift{tag="vc-policy"}) > bool 1': 1,
        "storpool_endpoint_up": 1,
        "sum(storpool_endpoint_stale)": 0,
        "sum(storpool_addon_up)": 3,
        'storpool_datastore_info{datastore="101",name="sp-images",type="image"}': 1,
        "time() - storpool_collect_last_run_timestamp_seconds < bool 60": 1,
    }
    assert {each: list(prometheus.query(each).values()) for each in values} == {
        each: [value] for each, value in values.items()
    }


def every_expression_is_answered(prometheus: Prometheus) -> None:
    """Those of the alerts and the dashboard: none is an error, and all metrics in them exist."""
    rules = prometheus.get("rules")["groups"]
    alerts = [rule["query"] for group in rules for rule in group["rules"]]
    assert len(alerts) == ALERTS.read_text().count("- alert:") >= 12
    known = set(prometheus.get("label/__name__/values"))
    dashboards = asked_by_the_dashboard()
    asked = set().union(*map(names_in, alerts + dashboards))
    assert asked - known == set()
    # Nothing is exported that nobody looks at.
    kinds = {"_bucket", "_count", "_sum"}
    assert {each for each in TABLES if not {each, *(each + kind for kind in kinds)} & asked} == set()
    for each in alerts + dashboards:
        found = prometheus.query(each)
        assert found or each not in dashboards or "rate(" in each or "increase(" in each, each
    assert not [rule for group in rules for rule in group["rules"] if rule["health"] == "err"]


def the_last_round_is_shown_until_the_next_ends(lab: Lab) -> None:
    """A round may take minutes: what it asks oned at its end finds the words about the one before."""
    path = Path(lab.hosts.frontend.path(f"{KEPT}/collected.jsonl"))
    hosts, seen = lab.rpc.methods.table["one.hostpool.info"], []
    lab.rpc.methods.table["one.hostpool.info"] = lambda *words: seen.append(path.read_text()) or hosts(*words)
    before = cache.read(str(path.parent))
    # A list that is refused costs what it alone has.
    lab.simulator.faults.set([Fault(Verdict.error("invalidParam"), query="AttachmentsList")])
    done = run(lab, "collect", "--disks")
    assert done.returncode == 1 and done.stdout == "1 clusters, 1 VMs, 0 sizes unknown, 1 troubles\n"
    after = cache.read(str(path.parent))
    same = {title for title in before if before[title] == after[title]}
    assert {title[0] for title in same} == {CENSUS} and len(after) == len(before)
    lab.rpc.methods.table["one.hostpool.info"] = hosts
    assert [text.count('["round", "last"]') for text in seen] == [1]


def lives_on(lab: Lab, prometheus: Prometheus, port: int) -> None:
    """A file that is half written, or gone, and an oned that is away: said, and all else is shown."""
    path = Path(lab.hosts.frontend.path(f"{KEPT}/collected.jsonl"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    prometheus.wait('storpool_addon_up{source="collected"}', 0)
    prometheus.wait("count(storpool_datastore_free_bytes) or vector(0)", 0)
    prometheus.wait('storpool_addon_up{source="policies"}', 1)
    path.write_bytes(whole)
    prometheus.wait('storpool_addon_up{source="collected"}', 1)
    path.unlink()
    end = time.monotonic() + 10
    while 'source="collected"' in scrape(port) and time.monotonic() < end:
        time.sleep(0.1)
    assert "storpool_datastore" not in scrape(port) and "storpool_driver_actions_total" in scrape(port)


def test_what_is_stale_or_odd_is_not_shown() -> None:
    rules = Rules.configured(Config())
    now = time.time()
    round_part = {
        "clusters": {"http://sp:81": {"up": True, "datastores": {"101": ["ssd", "image"]}, "hosts": []}},
        "fenced": ["node2"],
        "troubles": 2,
        "took_s": 1.5,
    }
    space = {"templates": {"one-ds-101": [100, 30, 5, 7]}, "counts": {"one-ds-101": [500, 3]}}
    census: dict[str, Any] = {
        "volumes": [["one-ds-101", "attached", 4], ["other", "detached", 1]],
        "snapshots": [],
        "freed": [],
        "attachments": [["", 11, "rw", 4]],
    }

    def values(age_s: float = 0.0, **changes: Any) -> tuple[dict[str, dict[tuple[str, ...], Any]], list[str]]:
        parts = {
            LAST: Part(now - age_s, changes.get("last", round_part)),
            (SPACE, "http://sp:81"): Part(now - age_s, changes.get("space", space)),
            (CENSUS, "http://sp:81"): Part(now - age_s, changes.get("census", census)),
        }
        shown, odd = collected.collected(parts, rules)
        return {each.name.replace("storpool_", ""): each.samples for each in shown}, odd

    found, odd = values()
    assert odd == []
    assert found["host_fenced"] == {("node2",): 1} and found["fenced_hosts"] == {(): 1}
    assert "fenced_hosts" not in values(last={**round_part, "fenced": None})[0]
    assert found["datastore_free_bytes"] == {("101", "ssd"): 30}
    assert found["datastore_used_bytes"] == {("101", "ssd"): 70}
    assert found["datastore_volumes"] == {
        ("101", "ssd", "attached"): 4,
        ("101", "ssd", "detached"): 0,
        ("101", "ssd", "unfinished"): 0,
        ("", "", "detached"): 1,
    }
    assert found["client_attachments"] == {("http://sp:81", "", "11", "", "rw"): 4}
    assert collected.collected({}, rules)[1] == []
    # Older than an hour: monitor does not take it either. What was counted may be half an hour older.
    for age_s, gone in (
        (3700.0, {"datastore_free_bytes", "endpoint_up"}),
        (-600.0, {"datastore_free_bytes"}),
    ):
        late, _ = values(age_s)
        assert gone.isdisjoint(late) and late["endpoint_stale"]["http://sp:81", "capacity"] == 1
    assert ("datastore_volumes" in values(3700.0)[0], "datastore_volumes" in values(9000.0)[0]) == (
        True,
        False,
    )
    # Of another release, or edited.
    wrong = (None, [], 7, {"templates": 3, "counts": 4}, {"volumes": [["x"]]}, {"clusters": {"a": 1}})
    for part in ("last", "space", "census"):
        for each in wrong:
            assert values(**{part: each})[1] != [], (part, each)
    bad = {**census, "volumes": [["one-ds-101", "attached", "4"]]}
    found, odd = values(census=bad)
    assert odd == ["count of http://sp:81"] and "datastore_volumes" not in found
    assert found["datastore_free_bytes"] == {("101", "ssd"): 30}
    unknown = {**space, "templates": {"one-ds-101": [None, 30, None, None]}}
    assert "datastore_free_bytes" not in values(space=unknown)[0] and not values(space=unknown)[1]


def test_a_big_cloud_is_shown_at_once(tmp_path: Path) -> None:
    """What is kept of 100,000 VMs is mostly messages for monitord, which are not even decoded."""
    last = {"clusters": {}, "fenced": [], "troubles": 0, "took_s": 1.0}
    messages = ["MONITOR_VM SUCCESS -1 0 " + "x" * 44_000] * 3
    parts = {LAST: Part.now(**last)}
    for number in range(50):
        datastores = {str(number): [f"ds{number}", "system"]}
        last["clusters"][f"http://{number}"] = {"up": True, "datastores": datastores, "hosts": []}  # type: ignore[index]
        parts[cache.DISKS, str(number)] = Part.now(key="", messages=messages)
        parts[CENSUS, f"http://{number}"] = Part.now(
            volumes=[[f"one-ds-{number}", "attached", 9]], snapshots=[], freed=[],
            attachments=[["", client, "rw", 8] for client in range(50)],
        )  # fmt: skip
    cache.write(str(tmp_path), parts)
    began = time.process_time()
    shown, odd = collected.collected(
        cache.read(str(tmp_path), without=cache.DISKS), Rules.configured(Config())
    )
    taken_s = time.process_time() - began
    samples = sum(len(each.samples) for each in shown)
    assert odd == [] and 2500 < samples < 3200
    assert taken_s < 1, "a tenth of a second on a quiet machine"


WITHOUT = """
import sys
sys.modules["prometheus_client"] = None
from storpool_addon.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        (WITHOUT, ["--once"], "needs Python's prometheus_client: install python3-prometheus-client"),
        (WITHOUT.replace('["prom', '["no'), ["--listen", "h:99999"], "'h:99999' is not ADDRESS:PORT"),
    ],
)
def test_what_it_cannot_do_without_is_said(tmp_path: Path, program: str, words: list[str], said: str) -> None:
    argv = [sys.executable, "-c", program, "exporter", *words]
    environ = {"HOME": str(tmp_path), "ONE_LOCATION": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ, timeout=60)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1


def test_the_dashboard_is_one() -> None:
    """As Grafana imports it: ids once, panels beside each other, queries with the datasource's variable."""
    found = dashboard()
    assert found["schemaVersion"] >= 36 and found["title"] and found["uid"] == "storpool-opennebula"
    variables = {each["name"]: each["type"] for each in found["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query", "datastore": "query"}
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids)) and None not in ids
    for panel in found["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("timeseries", "stat", "bargauge", "table") and panel["title"]
        refs = [each["refId"] for each in panel["targets"]]
        assert refs and len(refs) == len(set(refs)) and panel["fieldConfig"]["defaults"]["unit"]
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
