"""Each alert of the examples, by promtool: with what it fires, and with what it does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.monitoring.prometheus import ALERTS, EXAMPLES, promtool
from tests.programs import needs

DAY, HOUR = 1440, 60
LEADS = {"storpool_addon_leader": "1x400"}
DS = 'datastore="101",name="ssd"'
# Samples come each 5 minutes; what begins at 0 and grows by 10 each time, 400 times, is 0+10x400.
ACTIONS, CALLS = "storpool_driver_actions_total", "storpool_driver_call"


class Case(NamedTuple):
    """series: with which the alert fires after some minutes. quiet: what is else when it does not.

    alone: it is about all front-ends together.
    """

    alert: str
    minutes: int
    series: dict[str, str]
    quiet: dict[str, str]
    leads: dict[str, str] = LEADS
    alone: bool = False


def actions(outcome: str) -> str:
    return f'{ACTIONS}{{action="tm/clone",outcome="{outcome}"}}'


FOLLOWS = {"storpool_addon_leader": "0x400"}
FULL = {f"storpool_datastore_capacity_bytes{{{DS}}}": "1000x400"}
FREE, DELETED = f"storpool_datastore_free_bytes{{{DS}}}", f"storpool_datastore_pending_delete_bytes{{{DS}}}"
LAST, RAN = "storpool_collect_last_run_timestamp_seconds", "storpool_policies_last_run_timestamp_seconds"
UP, STALE = 'storpool_endpoint_up{endpoint="sp"}', 'storpool_endpoint_stale{endpoint="sp",what="capacity"}'
LEFT_OUT, TROUBLES = "storpool_collect_troubles", "storpool_policies_troubles"
HALF = f'storpool_datastore_volumes{{{DS},state="unfinished"}}'
BUCKETS = f'{CALLS}_duration_seconds_bucket{{call="VolumeCreate",le='
CASES = (
    Case("StorPoolClusterUnreachable", 20, {UP: "0x400"}, {UP: "1x400"}),
    Case("StorPoolClusterUnreachable", 20, {UP: "0x400"}, FOLLOWS),
    Case("StorPoolCollectStopped", 70, {LAST: "300x400"}, {LAST: "0+300x400"}),
    Case("StorPoolCollectStopped", 70, {}, {LAST: "0+300x400"}),
    Case("StorPoolCollectedStale", 30, {STALE: "1x400"}, {STALE: "0x400"}),
    Case("StorPoolCollectTroubles", 90, {LEFT_OUT: "2x400"}, {LEFT_OUT: "0x400"}),
    Case("StorPoolHostFenced", 90, {'storpool_host_fenced{host="node1"}': "1x400"},
         {'storpool_host_fenced{host="node1"}': "1x3"}),
    Case("StorPoolDatastoreFilling", 30, {FREE: "140x400", **FULL}, {FREE: "160x400"}),
    Case("StorPoolDatastoreAlmostFull", 30, {FREE: "40x400", **FULL}, {FREE: "60x400"}),
    Case("StorPoolDatastoreFullSoon", 600, {FREE: "800-1x400"}, {FREE: "800+1x400"}),
    Case("StorPoolDelayedDeletesPileUp", 180, {DELETED: "300x400", **FULL}, {DELETED: "100x400"}),
    Case("StorPoolVolumesStayUnfinished", DAY + HOUR, {HALF: "1x400"}, {HALF: "1x200 0x200"}),
    Case("StorPoolPolicyDriftStays", 120, {"storpool_policies_changed": "3x400"},
         {"storpool_policies_changed": "3 0 3 0 3 0 3 0 3 0 3 0 3 0 3 0 3 0 3 0 3 0 3 0 3 0"}),
    Case("StorPoolPolicyTroubles", 90, {TROUBLES: "1x400"}, {TROUBLES: "0x400"}),
    Case("StorPoolPoliciesStopped", 120, {RAN: "0x400"}, {RAN: "0+300x400"}),
    Case("StorPoolActionsFailing", 40, {actions("failed"): "0+5x400", actions("ok"): "0+5x400"},
         {actions("failed"): "0+2x400", actions("ok"): "0+50x400"}),
    Case("StorPoolDriverBug", 60, {actions("bug"): "0x6 1x400"}, {actions("bug"): "1x400"}),
    # The first action of a script at all, and it meets a bug.
    Case("StorPoolDriverBug", 70, {actions("bug"): "_x11 1x400"}, {actions("bug"): "_x11 0x400"}),
    Case("StorPoolCallsFailing", 40, {f'{CALLS}_failures_total{{call="ssh"}}': "0+5x400"},
         {f'{CALLS}_failures_total{{call="ssh"}}': "0+1x400"}),
    Case("StorPoolManyRetries", 40,
         {f'{CALLS}_retries_total{{call="Volume"}}': "0+30x400",
          f'{CALLS}_duration_seconds_count{{call="Volume"}}': "0+90x400"},
         {f'{CALLS}_duration_seconds_count{{call="Volume"}}': "0+9000x400"}),
    Case("StorPoolCallsSlow", 90,
         {f'{BUCKETS}"1.0"}}': "0x400", f'{BUCKETS}"30.0"}}': "0+9x400", f'{BUCKETS}"+Inf"}}': "0+9x400"},
         {f'{BUCKETS}"1.0"}}': "0+9x400"}),
    Case("StorPoolExporterDown", 15, {'up{job="storpool"}': "0x400"}, {'up{job="storpool"}': "1x400"}),
    Case("StorPoolExporterDown", 15, {}, {'up{job="storpool"}': "1x400"}, alone=True),
    Case("StorPoolExporterCannotRead", 30, {'storpool_addon_up{source="actions"}': "0x400"},
         {'storpool_addon_up{source="actions"}': "1x400"}),
    Case("StorPoolNobodyLeads", 30, {}, LEADS, FOLLOWS, alone=True),
    Case("StorPoolSpoolLoses", 60, {'storpool_driver_spool_losses_total{reason="full"}': "0x6 1x400"},
         {'storpool_driver_spool_losses_total{reason="full"}': "1x400"}),
)  # fmt: skip


def scene(cases: Sequence[tuple[int, Case, bool]]) -> dict[str, Any]:
    """A test as promtool takes it; each case is a front-end, and told to fire or to be quiet."""
    series, wanted = {}, []
    for number, case, fires in cases:
        instance = f"fe{number}{'fires' if fires else 'quiet'}"
        for name, values in {**case.leads, **case.series, **({} if fires else case.quiet)}.items():
            series[_of(instance, name)] = values
        alert = f'ALERTS{{alertname="{case.alert}",alertstate="firing",instance=~"{instance}|"}}'
        # An alert about all front-ends names none.
        sample = {"labels": "{}", "value": int(fires)}
        expression = f"count({alert}) or vector(0)"
        wanted.append({"expr": expression, "eval_time": f"{case.minutes}m", "exp_samples": [sample]})
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "5m", "input_series": given, "promql_expr_test": wanted}


def _of(instance: str, series: str) -> str:
    """All of one front-end."""
    name, _, labels = series.partition("{")
    return f'{name}{{instance="{instance}",{labels}' if labels else f'{name}{{instance="{instance}"}}'


@needs("promtool")
def test_each_alert_fires_and_is_quiet(tmp_path: Path) -> None:
    promtool("check", "config", str(EXAMPLES / "prometheus/prometheus.yml"))
    declared = {line.split()[-1] for line in ALERTS.read_text().splitlines() if "- alert:" in line}
    assert {case.alert for case in CASES} == declared
    each = [(number, case, fires) for number, case in enumerate(CASES) for fires in (True, False)]
    together = [one for one in each if not one[1].alone]
    scenes = [
        # All rules are evaluated up to the last case of a scene: few are long.
        scene([one for one in together if one[1].minutes <= 3 * HOUR]),
        scene([one for one in together if one[1].minutes > 3 * HOUR]),
        *(scene([one]) for one in each if one[1].alone),
    ]
    # JSON is YAML.
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "5m", "tests": scenes}
    (tmp_path / "tests.yml").write_text(json.dumps(document))
    promtool("test", "rules", str(tmp_path / "tests.yml"))


def test_each_alert_says_what_to_do() -> None:
    for rule in ALERTS.read_text().split("- alert:")[1:]:
        for part in ("severity: ", "summary: ", "description: "):
            assert rule.count(part) == 1, rule
