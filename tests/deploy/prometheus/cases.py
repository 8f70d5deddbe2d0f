"""Series on which each alert is tried: those of a server in order, and what is wrong with them after twenty minutes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

QUIET_MINUTES = 20
TARGET = 'job="modelward",instance="a:8002"'
ADDED = 'job="modelward",instance="c:8002"'
OTHER = 'job="modelward",instance="b:8002"'
FRAUD = f'{TARGET},model="fraud"'
VERSION = f'{FRAUD},version="1"'
ENDPOINT = f'{TARGET},endpoint="10.0.0.5:8001"'
DAY = 86_400

# value at the start, and what is added each minute
Course = tuple[float, float]

QUIET: Mapping[str, Course] = {
    f"up{{{TARGET}}}": (1, 0),
    f'modelward_build_info{{{TARGET},version="0.1.0"}}': (1, 0),
    f'modelward_objective_ratio{{{FRAUD},objective="success"}}': (0.999, 0),
    f'modelward_objective_ratio{{{FRAUD},objective="in_time"}}': (0.99, 0),
    f'modelward_objective_latency_seconds{{{FRAUD},bound="0.05"}}': (0.05, 0),
    f'modelward_requests_total{{{VERSION},code="OK"}}': (0, 6000),
    f'modelward_requests_total{{{VERSION},code="UNAVAILABLE"}}': (0, 2),
    f'modelward_requests_total{{{FRAUD},version="",code="RESOURCE_EXHAUSTED"}}': (0, 9000),
    f'modelward_requests_total{{{TARGET},model="_other",version="",code="NOT_FOUND"}}': (0, 500),
    f'modelward_refusals_total{{{FRAUD},reason="BACKEND_FAILED"}}': (0, 2),
    f'modelward_refusals_total{{{FRAUD},reason="CRASH"}}': (0, 300),
    f'modelward_refusals_total{{{FRAUD},reason="MODEL_LIMIT"}}': (0, 9000),
    f'modelward_fallbacks_total{{{FRAUD},reason="DEADLINE"}}': (0, 60),
    f'modelward_fallbacks_total{{{FRAUD},reason="RESTRICTED"}}': (0, 3000),
    f'modelward_request_seconds_bucket{{{VERSION},outcome="ok",le="0.025"}}': (0, 4000),
    f'modelward_request_seconds_bucket{{{VERSION},outcome="ok",le="0.05"}}': (0, 5980),
    f'modelward_request_seconds_bucket{{{VERSION},outcome="ok",le="+Inf"}}': (0, 6000),
    f'modelward_request_seconds_count{{{VERSION},outcome="ok"}}': (0, 6000),
    f"modelward_anomalies_total{{{FRAUD}}}": (0, 6),
    f"modelward_anomaly_score_count{{{FRAUD}}}": (0, 6000),
    f'modelward_drift{{{VERSION},side="inputs"}}': (0, 0),
    f'modelward_drift{{{VERSION},side="training"}}': (1, 0),
    f'modelward_detection_identities{{{TARGET},step="observe"}}': (100, 0),
    f'modelward_detection_identities{{{TARGET},step="tag"}}': (3, 0),
    f'modelward_detection_identities{{{TARGET},step="fallback"}}': (0, 0),
    f"modelward_canary_failing{{{VERSION}}}": (0, 0),
    f"modelward_upstream_canary_failing{{{ENDPOINT}}}": (0, 0),
    f"modelward_upstream_available{{{ENDPOINT}}}": (1, 0),
    f"modelward_upstream_panic{{{FRAUD}}}": (0, 0),
    f"modelward_state_unsaved{{{TARGET}}}": (0, 0),
    f"modelward_models_refused{{{TARGET}}}": (0, 0),
    f"modelward_last_reload_successful{{{TARGET}}}": (1, 0),
    f"modelward_changed_versions{{{TARGET}}}": (0, 0),
    f'modelward_scan_findings{{{TARGET},severity="critical"}}': (0, 0),
    f'modelward_scan_findings{{{TARGET},severity="low"}}': (2, 0),
    f'modelward_worker_restarts_total{{{TARGET},reason="died"}}': (1, 0),
    f'modelward_worker_restarts_total{{{TARGET},reason="asked"}}': (0, 1),
    f"modelward_tls_certificate_not_after_seconds{{{TARGET}}}": (90 * DAY, 0),
    f"modelward_audit_up{{{TARGET}}}": (1, 0),
    f"modelward_audit_records_lost_total{{{TARGET}}}": (4, 0),
    f'modelward_audit_witness_failures_total{{{TARGET},witness="w",why="failed"}}': (0, 1),
    f"modelward_shared_limits_up{{{TARGET}}}": (1, 0),
    f"modelward_fleet_up{{{TARGET}}}": (1, 0),
    f"modelward_fleet_name_taken{{{TARGET}}}": (0, 0),
    f"modelward_utilization{{{TARGET}}}": (0.7, 0),
    f"modelward_utilization{{{OTHER}}}": (0.5, 0),
    f"modelward_limit_cells{{{TARGET}}}": (100, 0),
    f"modelward_limit_cells_capacity{{{TARGET}}}": (1_048_576, 0),
    f"modelward_break_glass_unreviewed{{{TARGET}}}": (0, 0),
}


@dataclass(frozen=True)
class Case:
    """cause: by series, from the twentieth minute on: of a counter what it counts in a minute, of a gauge what it is,
    None where it is gone. alerts: all that fire when it has lasted for `minutes`, burn rates with their long window."""

    cause: Mapping[str, float | None]
    alerts: frozenset[str]
    minutes: int = 1


def when(minutes: int, cause: Mapping[str, float | None], *alerts: str) -> Case:
    return Case(cause, frozenset(alerts), minutes)


def failing(each_minute: int) -> Mapping[str, float]:
    """Requests that fail, of 6,000 a minute."""
    return {
        f'modelward_requests_total{{{VERSION},code="OK"}}': 6000 - each_minute,
        f'modelward_requests_total{{{VERSION},code="UNAVAILABLE"}}': each_minute,
        f'modelward_refusals_total{{{FRAUD},reason="BACKEND_FAILED"}}': each_minute,
    }


def late(each_minute: int) -> Mapping[str, float]:
    return {f'modelward_request_seconds_bucket{{{VERSION},outcome="ok",le="0.05"}}': 6000 - each_minute}


BURN, LATE = "ModelwardErrorBudgetBurn", "ModelwardLatencyBudgetBurn"
CASES: Mapping[str, Case] = {
    "a fifth of the requests fails": when(10, failing(1200), f"{BURN} 1h"),
    "nine in a thousand requests fail, for hours": when(240, failing(54), f"{BURN} 6h", f"{BURN} 1d", f"{BURN} 3d"),
    "four in a thousand requests fail, for hours": when(240, failing(24), f"{BURN} 1d", f"{BURN} 3d"),
    "two in a thousand requests fail, for hours": when(240, failing(12), f"{BURN} 3d"),
    "nearly as many fail as may": when(240, failing(5)),
    "all answers are late": when(14, late(6000), f"{LATE} 1h"),
    "a tenth of the answers is late, for hours": when(240, late(600), f"{LATE} 6h", f"{LATE} 1d", f"{LATE} 3d"),
    "four in a hundred answers are late, for hours": when(240, late(240), f"{LATE} 1d", f"{LATE} 3d"),
    "two in a hundred answers are late, for hours": when(240, late(120), f"{LATE} 3d"),
    "an attack is refused": when(
        30,
        {
            f'modelward_requests_total{{{FRAUD},version="",code="RESOURCE_EXHAUSTED"}}': 900_000,
            f'modelward_refusals_total{{{FRAUD},reason="MODEL_LIMIT"}}': 900_000,
            f'modelward_requests_total{{{TARGET},model="_other",version="",code="UNAVAILABLE"}}': 900_000,
        },
    ),
    "the queue is full, for moments": when(4, {f'modelward_refusals_total{{{FRAUD},reason="QUEUE_FULL"}}': 600}),
    "requests are shed": when(
        9, {f'modelward_refusals_total{{{FRAUD},reason="SHED"}}': 600}, "ModelwardShedding", f"{BURN} 1h"
    ),
    "fallbacks answer what is shed": when(
        15, {f'modelward_fallbacks_total{{{FRAUD},reason="QUEUE_FULL"}}': 600}, "ModelwardShedding"
    ),
    "fallbacks answer for a model that is late": when(
        15, {f'modelward_fallbacks_total{{{FRAUD},reason="DEADLINE"}}': 1200}, "ModelwardFallbacks"
    ),
    "many inputs are anomalous": when(15, {f"modelward_anomalies_total{{{FRAUD}}}": 1200}, "ModelwardAnomalies"),
    "inputs drift": when(1, {f'modelward_drift{{{VERSION},side="inputs"}}': 1}, "ModelwardDrift"),
    "identities are restricted": when(
        1, {f'modelward_detection_identities{{{TARGET},step="fallback"}}': 2}, "ModelwardIdentitiesSuspected"
    ),
    "a canary fails": when(2, {f"modelward_canary_failing{{{VERSION}}}": 1}, "ModelwardCanaryFailing"),
    "an upstream fails a canary": when(
        2, {f"modelward_upstream_canary_failing{{{ENDPOINT}}}": 1}, "ModelwardUpstreamCanaryFailing"
    ),
    "a promotion is taken back": when(
        2,
        {f"modelward_promotion_rolled_back_timestamp_seconds{{{FRAUD}}}": QUIET_MINUTES * 60},
        "ModelwardPromotionRolledBack",
    ),
    "a promotion was taken back an hour ago": when(
        61, {f"modelward_promotion_rolled_back_timestamp_seconds{{{FRAUD}}}": QUIET_MINUTES * 60}
    ),
    "a promotion is not saved": when(3, {f"modelward_state_unsaved{{{TARGET}}}": 1}, "ModelwardStateUnsaved"),
    "a version cannot be served": when(6, {f"modelward_models_refused{{{TARGET}}}": 1}, "ModelwardModelsRefused"),
    "a reload is refused": when(6, {f"modelward_last_reload_successful{{{TARGET}}}": 0}, "ModelwardReloadRefused"),
    "a file changes on disk": when(1, {f"modelward_changed_versions{{{TARGET}}}": 1}, "ModelwardFilesChanged"),
    "a scan finds something": when(
        1, {f'modelward_scan_findings{{{TARGET},severity="critical"}}': 1}, "ModelwardScanFindings"
    ),
    "an upstream is out of service": when(
        3, {f"modelward_upstream_available{{{ENDPOINT}}}": 0}, "ModelwardUpstreamDown"
    ),
    "upstreams are in panic": when(2, {f"modelward_upstream_panic{{{FRAUD}}}": 1}, "ModelwardUpstreamPanic"),
    "the server is gone": when(
        3, {f"up{{{TARGET}}}": 0, f'modelward_build_info{{{TARGET},version="0.1.0"}}': None}, "ModelwardDown"
    ),
    "workers die": when(2, {f'modelward_worker_restarts_total{{{TARGET},reason="died"}}': 1}, "ModelwardWorkerDied"),
    "a crash is contained": when(1, {f"modelward_contained{{{VERSION}}}": 1}, "ModelwardCrashContained"),
    "the certificate has ten days": when(
        1, {f"modelward_tls_certificate_not_after_seconds{{{TARGET}}}": 10 * DAY}, "ModelwardCertificateExpires"
    ),
    "the certificate has a day": when(
        1, {f"modelward_tls_certificate_not_after_seconds{{{TARGET}}}": DAY}, "ModelwardCertificateExpires"
    ),
    "the trail cannot be written": when(2, {f"modelward_audit_up{{{TARGET}}}": 0}, "ModelwardAuditDown"),
    "records are lost": when(2, {f"modelward_audit_records_lost_total{{{TARGET}}}": 5}, "ModelwardAuditRecordsLost"),
    "a witness refuses a checkpoint": when(
        1,
        {f'modelward_audit_witness_failures_total{{{TARGET},witness="w",why="refused"}}': 1},
        "ModelwardAuditRewritten",
    ),
    "the store of limits is gone": when(2, {f"modelward_shared_limits_up{{{TARGET}}}": 0}, "ModelwardSharedLimitsDown"),
    "a server is used up for less than ten minutes": when(9, {f"modelward_utilization{{{TARGET}}}": 0.97}),
    "a server is used up, and none is added": when(
        12, {f"modelward_utilization{{{TARGET}}}": 0.97}, "ModelwardFullyUsed"
    ),
    "a server is used up, and another one is gone": when(
        12,
        {f"modelward_utilization{{{TARGET}}}": 0.97, f"modelward_utilization{{{OTHER}}}": None},
        "ModelwardFullyUsed",
    ),
    "a server is used up, and one is added": when(
        12, {f"modelward_utilization{{{TARGET}}}": 0.97, f"modelward_utilization{{{ADDED}}}": 0.97}
    ),
    "a server is used up, and one was added long ago": when(
        30,
        {f"modelward_utilization{{{TARGET}}}": 0.97, f"modelward_utilization{{{ADDED}}}": 0.97},
        "ModelwardFullyUsed",
    ),
    "the store of the fleet is gone": when(2, {f"modelward_fleet_up{{{TARGET}}}": 0}, "ModelwardFleetStoreDown"),
    "another server has the same name": when(
        2, {f"modelward_fleet_name_taken{{{TARGET}}}": 1}, "ModelwardFleetNameTaken"
    ),
    "the table of limits is full": when(
        6, {f"modelward_limit_cells{{{TARGET}}}": 1_000_000}, "ModelwardLimitTableFull"
    ),
    "the glass was broken": when(
        1, {f"modelward_break_glass_unreviewed{{{TARGET}}}": 1}, "ModelwardBreakGlassUnreviewed"
    ),
}


def unit_tests(rules: str, groups: Sequence[str], *, hours: bool) -> dict[str, Any]:
    """For `promtool test rules`. rules: path of the file. groups: of it, in their order. hours: the cases that last for
    hours, evaluated less often. Each case is quiet for twenty minutes."""
    tests = [_unit_test(name, case) for name, case in CASES.items() if (case.minutes > 100) is hours]
    interval = "5m" if hours else "1m"
    return {"rule_files": [rules], "evaluation_interval": interval, "group_eval_order": [*groups], "tests": tests}


def _unit_test(name: str, case: Case) -> dict[str, Any]:
    expected = [{"labels": f'{{alert="{alert}"}}', "value": 1} for alert in sorted(case.alerts)]
    firing = 'ALERTS{alertstate="firing"}'
    named = f'label_join({firing}, "alert", " ", "alertname", "window")'
    trimmed = f'label_replace({named}, "alert", "$1", "alert", "(.*) ")'
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in _series(case)],
        "promql_expr_test": [
            {
                "expr": f"max_over_time({firing}[{QUIET_MINUTES}m])",
                "eval_time": f"{QUIET_MINUTES}m",
                "exp_samples": [],
            },
            {
                "expr": f"group by (alert) ({trimmed})",
                "eval_time": f"{QUIET_MINUTES + case.minutes}m",
                "exp_samples": expected,
            },
        ],
    }


def _series(case: Case) -> Iterator[tuple[str, str]]:
    """In promtool's notation: value at the start, + what each step adds, x the number of steps."""
    for series in dict.fromkeys((*QUIET, *case.cause)):
        start, each = QUIET.get(series, (None, 0.0))
        until = start + each * QUIET_MINUTES if start is not None else None
        before = f"{start}+{each}x{QUIET_MINUTES}" if start is not None else f"_x{QUIET_MINUTES + 1}"
        after = case.cause.get(series, each if is_counter(series) else until)
        if after is None:
            yield series, f"{before} _x{case.minutes}"
        elif is_counter(series):
            yield series, f"{before} {(until or 0) + after}+{after}x{case.minutes - 1}"
        else:
            yield series, f"{before} {after}x{case.minutes - 1}"


def is_counter(series: str) -> bool:
    return series.partition("{")[0].endswith(("_total", "_count", "_bucket"))
