"""What a scrape shows, read back by the parsers of both formats; prometheus_client's own rendering is the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from modelward.telemetry.exposition import Exposition, render
from modelward.telemetry.metrics.prometheus import ModelwardCollector
from modelward.telemetry.objectives import ObjectiveSnapshot
from modelward.telemetry.snapshot import (
    OTHER_MODEL,
    AccessLogSnapshot,
    AuditSnapshot,
    CanarySnapshot,
    CaptureSnapshot,
    CloseReasonSnapshot,
    DetectionSnapshot,
    DriftSnapshot,
    EndpointSnapshot,
    Histogram,
    IdentitySnapshot,
    IntegritySnapshot,
    LimitsSnapshot,
    ModelSnapshot,
    ObservationSnapshot,
    ShadowSnapshot,
    SharedSnapshot,
    Snapshot,
    StateSnapshot,
    TlsSnapshot,
    VersionSnapshot,
)
from tests.proxy.server.catalogs import FRAUD_STATISTICS

SECONDS = Histogram(bounds=(0.001, 0.01), cumulative=(4, 9, 10), sum=0.05)
CANARY = CanarySnapshot(passed=17, failed=18, failing=19)
SNAPSHOT = Snapshot(
    build={"version": "0.1.0", "python": "3.11.7"},
    models={
        "fraud": ModelSnapshot(
            versions={
                "": VersionSnapshot(requests={"RESOURCE_EXHAUSTED": 7}),
                "2": VersionSnapshot(
                    {"OK": 9, "INVALID_ARGUMENT": 1}, {"ok": SECONDS}, FRAUD_STATISTICS, pending=4, canary=CANARY
                ),
            },
            refusals={"MODEL_LIMIT": 7},
            stages={"decode": Histogram((1e-6,), (8, 10), 2e-5), "score": Histogram((1e-6,), (10, 10), 4e-6)},
            anomaly_score=Histogram((0.5, 1.0), (3, 9, 9), 4.5),
            anomalies=2,
            restricted={"round": 4},
            observed={"block": 5},
            withheld={"fallback": 6},
            steps={("round", "near"): 3},
            partly_scored=8,
            unwatched=2,
            fallbacks={"DEADLINE": 5},
            batch_rows=Histogram((1.0, 8.0), (1, 5, 5), 12.0),
            late_results=6,
            predicted_seconds=1.5,
            taken_seconds=1.25,
        ),
        OTHER_MODEL: ModelSnapshot(versions={"": VersionSnapshot(requests={"NOT_FOUND": 3})}),
    },
    inflight=11,
    utilization={"permits": 0.25, "loop": 0.5, "backend": 0.125},
    loop_busy=0.75,
    inflight_bytes=4096,
    limits=LimitsSnapshot(cells=21, capacity=1024),
    shared=SharedSnapshot(up=1, syncs={"ok": 22, "failed": 2}, seconds=SECONDS, cells=23, unbooked=24),
    tls=TlsSnapshot(not_after=1.9e9, reloads=3, failed_reloads=1, failed_handshakes=8),
    connections=12,
    shares={"fraud": {"1": 0.75, "2": 0.25}},
    state=StateSnapshot(unsaved=1, failures=25),
    audit=AuditSnapshot(26, 27, {"records": 28}, 29, 1, 30.5, 31, {"w": 32}, {("w", "refused"): 33}),
    integrity=IntegritySnapshot({("fraud", "2"): ("sha256:00", "release")}, 32, 33, {"same": 34}),
    watch_failures=26,
    samples_lost=27,
    access_log=AccessLogSnapshot(41, 42, 43),
    observations=ObservationSnapshot(1, 2, 3, 4, 5),
    detection=DetectionSnapshot({"tag": 2, "block": 1}, 7, 8, 9, {"fraud": ("measuring", 10, 32_768, 2, 3)}),
    capture=CaptureSnapshot({("fraud", "clean"): 5}, {("fraud", "disk"): 6}, {"fraud": 1}, {"fraud": 99}, {"fraud": 0}),
    drift={("fraud", "1"): DriftSnapshot({"inputs": True}, {"inputs": 1.2}, {"inputs": 9}, {"inputs": 1}, 3)},
    rolled_back={"fraud": 1.8e9},
    identities={"team-a": IdentitySnapshot(64, 1.5, {"peer": 9, "identity": 44}, 45, 46)},
    objectives={"fraud": ObjectiveSnapshot(0.99, 1.0, 0.95)},
    promotions={("fraud", "done", ""): 15, ("fraud", "rolled_back", "errors"): 16},
    close_reasons=CloseReasonSnapshot(refused={"peer_rate": 13}, closed={"resets": 14}),
    shadows={
        ("fraud", "2", "3"): ShadowSnapshot(
            pairs={"compared": 31, "shadow_failed": 32},
            disagreement=3.25,
            disagreeing=33,
            mismatches={"nan_shadow": 34},
            dropped={"places": 35},
            seconds={"primary": SECONDS, "shadow": SECONDS},
            verdict={"better": 0, "worse": 1},
        )
    },
    endpoints={
        "127.0.0.1:9001": EndpointSnapshot(
            requests=20,
            failures=3,
            ejections=1,
            seconds=SECONDS,
            inflight=2,
            connected=1,
            available=0,
            breaker={"closed": 0, "half-open": 1, "open": 0},
            silences=6,
            retries=4,
            hedges=5,
        )
    },
    upstream_changes={"signature": 1},
    upstream_refreshes={"changed": 1},
    panics={"fraud": 1},
    output_violations={("fraud", "p"): {("range", "clip"): 6}},
    output_budgets={("fraud", "p"): 0.25},
    breaker_overrides={("fraud", "all", "open"): 1},
)
LABELS = {"model": "fraud", "version": "2"}
SHADOW = {**LABELS, "shadow": "3"}


def text() -> str:
    return Exposition(lambda: SNAPSHOT).text().decode()


def samples(scrape: str | None = None) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {(s.name, frozenset(s.labels.items())): s.value for m in parse_text(scrape or text()) for s in m.samples}


def value(name: str, **labels: str) -> float:
    return samples()[(name, frozenset(labels.items()))]


def ours(families: Iterator[Any]) -> dict[str, Any]:
    return {m.name: m for m in families if m.name.startswith(("modelward_", "nv_"))}


def test_a_model_without_settings_has_the_usual_objective() -> None:
    page = Exposition(lambda: replace(SNAPSHOT, objectives={})).text().decode()
    assert (
        samples(page)["modelward_objective_ratio", frozenset({"model": "fraud", "objective": "success"}.items())]
        == 0.999
    )
    assert 'objective="in_time"' not in page and "modelward_objective_latency_seconds{" not in page
    assert 'modelward_objective_ratio{model="_other"' not in page


def test_every_metric_has_its_labels_and_no_other_metric_is_shown() -> None:
    families = ours(parse_text(text()))
    shown = {name: {frozenset(s.labels) - {"le"} for s in family.samples} for name, family in families.items()}
    per_version = {frozenset({"model", "version"})}
    assert shown == {
        "modelward_requests": {frozenset({"model", "version", "code"})},
        "modelward_request_seconds": {frozenset({"model", "version", "outcome"})},
        "modelward_build_info": {frozenset({"version", "python"})},
        "modelward_waiting": per_version,
        "modelward_concurrency_limit": per_version,
        "modelward_canary_failing": per_version,
        "modelward_canary_runs": {frozenset({"model", "version", "result"})},
        "modelward_refusals": {frozenset({"model", "reason"})},
        "modelward_stage_seconds": {frozenset({"stage", "model"})},
        "modelward_anomaly_score": {frozenset({"model"})},
        "modelward_anomalies": {frozenset({"model"})},
        "modelward_output_budget_used": {frozenset({"model", "output"})},
        "modelward_output_guard_violations": {frozenset({"model", "output", "guard", "action"})},
        "modelward_fallbacks": {frozenset({"model", "reason"})},
        "modelward_batch_rows": {frozenset({"model"})},
        "modelward_late_results": {frozenset({"model"})},
        "modelward_backend_time_predicted_seconds": {frozenset({"model"})},
        "modelward_backend_time_taken_seconds": {frozenset({"model"})},
        "modelward_model_info": {frozenset({"model", "version", "digest", "signer"})},
        "modelward_unverified_versions": {frozenset()},
        "modelward_changed_versions": {frozenset()},
        "modelward_integrity_checks": {frozenset({"result"})},
        "modelward_audit_up": {frozenset()},
        "modelward_audit_records": {frozenset()},
        "modelward_audit_records_lost": {frozenset()},
        "modelward_audit_failures": {frozenset({"what"})},
        "modelward_audit_waiting": {frozenset()},
        "modelward_audit_checkpoint_age_seconds": {frozenset()},
        "modelward_audit_size": {frozenset()},
        "modelward_audit_witnessed": {frozenset({"witness"})},
        "modelward_audit_witness_failures": {frozenset({"witness", "why"})},
        "modelward_shared_limits_up": {frozenset()},
        "modelward_shared_limits_syncs": {frozenset({"result"})},
        "modelward_shared_limits_round_trip_seconds": {frozenset()},
        "modelward_shared_limits_cells": {frozenset()},
        "modelward_shared_limits_unbooked": {frozenset()},
        "modelward_limit_cells": {frozenset()},
        "modelward_limit_cells_capacity": {frozenset()},
        "modelward_undecoded": {frozenset({"model"})},
        "modelward_shadow_pairs": {frozenset({"model", "version", "shadow", "outcome"})},
        "modelward_shadow_disagreement": {frozenset({"model", "version", "shadow"})},
        "modelward_shadow_disagreeing_pairs": {frozenset({"model", "version", "shadow"})},
        "modelward_shadow_mismatches": {frozenset({"model", "version", "shadow", "kind"})},
        "modelward_shadow_dropped": {frozenset({"model", "version", "shadow", "reason"})},
        "modelward_shadow_answer_seconds": {frozenset({"model", "version", "shadow", "side"})},
        "modelward_shadow_verdict": {frozenset({"model", "version", "shadow", "verdict"})},
        "modelward_upstream_requests": {frozenset({"endpoint"})},
        "modelward_upstream_failures": {frozenset({"endpoint"})},
        "modelward_upstream_ejections": {frozenset({"endpoint"})},
        "modelward_upstream_seconds": {frozenset({"endpoint"})},
        "modelward_upstream_inflight": {frozenset({"endpoint"})},
        "modelward_upstream_messages": {frozenset({"endpoint"})},
        "modelward_upstream_connected": {frozenset({"endpoint"})},
        "modelward_upstream_available": {frozenset({"endpoint"})},
        "modelward_upstream_breaker_override": {frozenset({"model", "endpoint", "state"})},
        "modelward_upstream_panic": {frozenset({"model"})},
        "modelward_upstream_breaker_state": {frozenset({"endpoint", "state"})},
        "modelward_upstream_silences": {frozenset({"endpoint"})},
        "modelward_upstream_retries": {frozenset({"endpoint"})},
        "modelward_unscored": {frozenset({"model"})},
        "modelward_partly_scored": {frozenset({"model"})},
        "modelward_detection_unwatched": {frozenset({"model"})},
        "modelward_upstream_hedges": {frozenset({"endpoint"})},
        "modelward_upstream_connect_failures": {frozenset({"endpoint"})},
        "modelward_upstream_canary_failing": {frozenset({"endpoint"})},
        "modelward_upstream_changes": {frozenset({"kind"})},
        "modelward_upstream_refreshes": {frozenset({"result"})},
        "modelward_inflight": {frozenset()},
        "modelward_inflight_bytes": {frozenset()},
        "modelward_connections": {frozenset()},
        "modelward_utilization": {frozenset()},
        "modelward_loop_busy": {frozenset()},
        "modelward_utilization_part": {frozenset({"of"})},
        "modelward_connections_refused": {frozenset({"reason"})},
        "modelward_connections_closed": {frozenset({"reason"})},
        "modelward_tls_certificate_not_after_seconds": {frozenset()},
        "modelward_version_share": {frozenset({"model", "version"})},
        "modelward_promotions": {frozenset({"model", "outcome", "reason"})},
        "modelward_promotion_rolled_back_timestamp_seconds": {frozenset({"model"})},
        "modelward_objective_ratio": {frozenset({"model", "objective"})},
        "modelward_objective_latency_seconds": {frozenset({"model", "bound"})},
        "modelward_identity_requests": {frozenset({"identity"})},
        "modelward_identity_backend_seconds": {frozenset({"identity"})},
        "modelward_identity_refusals": {frozenset({"identity", "limit"})},
        "modelward_identity_denied": {frozenset({"identity"})},
        "modelward_identity_anomalies": {frozenset({"identity"})},
        "modelward_crashes": set(),
        "modelward_contained": set(),
        "modelward_worker_deaths": set(),
        "modelward_state_unsaved": {frozenset()},
        "modelward_state_write_failures": {frozenset()},
        "modelward_watch_failures": {frozenset()},
        "modelward_detection_requests": {frozenset({"model", "step"})},
        "modelward_detection_observed_requests": {frozenset({"model", "step"})},
        "modelward_detection_withheld": {frozenset({"model", "got"})},
        "modelward_detection_phase": {frozenset({"model", "phase"})},
        "modelward_detection_learning_rows": {frozenset({"model"})},
        "modelward_detection_learning_rows_needed": {frozenset({"model"})},
        "modelward_detection_locked_cells": {frozenset({"model"})},
        "modelward_detection_common_fault_identities": {frozenset({"model"})},
        "modelward_detection_steps": {frozenset({"model", "step", "signal"})},
        "modelward_detection_identities": {frozenset({"step"})},
        "modelward_detection_restrictions": {frozenset()},
        "modelward_detection_evicted": {frozenset()},
        "modelward_detection_events_lost": {frozenset()},
        "modelward_observations": {frozenset()},
        "modelward_observations_lost": {frozenset({"reason"})},
        "modelward_capture_rows": {frozenset({"model", "part"})},
        "modelward_capture_dropped_rows": {frozenset({"model", "reason"})},
        "modelward_capture_files": {frozenset({"model"})},
        "modelward_capture_bytes": {frozenset({"model"})},
        "modelward_capture_removed_files": {frozenset({"model"})},
        "modelward_drift": {frozenset({"model", "version", "side"})},
        "modelward_drift_evidence": {frozenset({"model", "version", "side"})},
        "modelward_drift_rows": {frozenset({"model", "version", "side"})},
        "modelward_drift_alarms": {frozenset({"model", "version", "side"})},
        "modelward_drift_left_out_rows": {frozenset({"model", "version"})},
        "modelward_access_log_written": {frozenset()},
        "modelward_access_log_dropped": {frozenset({"reason"})},
        "modelward_shadow_samples_lost": {frozenset()},
        "modelward_tls_reloads": {frozenset({"result"})},
        "modelward_tls_handshake_failures": {frozenset()},
        "nv_inference_request_success": per_version,
        "nv_inference_request_failure": per_version,
        "nv_inference_count": per_version,
        "nv_inference_exec_count": per_version,
        "nv_inference_request_duration_us": per_version,
        "nv_inference_queue_duration_us": per_version,
        "nv_inference_compute_input_duration_us": per_version,
        "nv_inference_compute_infer_duration_us": per_version,
        "nv_inference_compute_output_duration_us": per_version,
        "nv_inference_pending_request_count": per_version,
    }


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("modelward_requests_total", {**LABELS, "code": "OK"}, 9),
        ("modelward_requests_total", {"model": "fraud", "version": "", "code": "RESOURCE_EXHAUSTED"}, 7),
        ("modelward_requests_total", {"model": "_other", "version": "", "code": "NOT_FOUND"}, 3),
        ("modelward_refusals_total", {"model": "fraud", "reason": "MODEL_LIMIT"}, 7),
        ("modelward_fallbacks_total", {"model": "fraud", "reason": "DEADLINE"}, 5),
        ("modelward_anomalies_total", {"model": "fraud"}, 2),
        ("modelward_detection_steps_total", {"model": "fraud", "step": "round", "signal": "near"}, 3),
        ("modelward_detection_requests_total", {"model": "fraud", "step": "round"}, 4),
        ("modelward_detection_identities", {"step": "tag"}, 2),
        ("modelward_detection_observed_requests_total", {"model": "fraud", "step": "block"}, 5),
        ("modelward_detection_withheld_total", {"model": "fraud", "got": "fallback"}, 6),
        ("modelward_detection_phase", {"model": "fraud", "phase": "measuring"}, 1),
        ("modelward_detection_learning_rows", {"model": "fraud"}, 10),
        ("modelward_detection_learning_rows_needed", {"model": "fraud"}, 32_768),
        ("modelward_detection_locked_cells", {"model": "fraud"}, 2),
        ("modelward_detection_common_fault_identities", {"model": "fraud"}, 3),
        ("modelward_detection_restrictions", {}, 9),
        (
            "modelward_output_guard_violations_total",
            {"model": "fraud", "output": "p", "guard": "range", "action": "clip"},
            6,
        ),
        ("modelward_partly_scored_total", {"model": "fraud"}, 8),
        ("modelward_detection_unwatched_total", {"model": "fraud"}, 2),
        ("modelward_late_results_total", {"model": "fraud"}, 6),
        ("modelward_backend_time_predicted_seconds_total", {"model": "fraud"}, 1.5),
        ("modelward_backend_time_taken_seconds_total", {"model": "fraud"}, 1.25),
        ("modelward_limit_cells", {}, 21),
        ("modelward_limit_cells_capacity", {}, 1024),
        ("modelward_model_info", {"model": "fraud", "version": "2", "digest": "sha256:00", "signer": "release"}, 1),
        ("modelward_unverified_versions", {}, 32),
        ("modelward_changed_versions", {}, 33),
        ("modelward_integrity_checks_total", {"result": "same"}, 34),
        ("modelward_audit_records_total", {}, 26),
        ("modelward_audit_records_lost_total", {}, 27),
        ("modelward_audit_failures_total", {"what": "records"}, 28),
        ("modelward_audit_waiting", {}, 29),
        ("modelward_audit_up", {}, 1),
        ("modelward_audit_checkpoint_age_seconds", {}, 30.5),
        ("modelward_audit_size", {}, 31),
        ("modelward_audit_witnessed", {"witness": "w"}, 32),
        ("modelward_audit_witness_failures_total", {"witness": "w", "why": "refused"}, 33),
        ("modelward_shared_limits_up", {}, 1),
        ("modelward_shared_limits_syncs_total", {"result": "failed"}, 2),
        ("modelward_shared_limits_cells", {}, 23),
        ("modelward_shared_limits_unbooked_total", {}, 24),
        ("modelward_inflight", {}, 11),
        ("modelward_utilization", {}, 0.5),
        ("modelward_loop_busy", {}, 0.75),
        ("modelward_utilization_part", {"of": "permits"}, 0.25),
        ("modelward_version_share", LABELS, 0.25),
        ("modelward_canary_failing", LABELS, 19),
        ("modelward_canary_runs_total", {**LABELS, "result": "passed"}, 17),
        ("modelward_canary_runs_total", {**LABELS, "result": "failed"}, 18),
        ("modelward_promotions_total", {"model": "fraud", "outcome": "done", "reason": ""}, 15),
        ("modelward_promotions_total", {"model": "fraud", "outcome": "rolled_back", "reason": "errors"}, 16),
        ("modelward_promotion_rolled_back_timestamp_seconds", {"model": "fraud"}, 1.8e9),
        ("modelward_objective_ratio", {"model": "fraud", "objective": "success"}, 0.99),
        ("modelward_objective_ratio", {"model": "fraud", "objective": "in_time"}, 0.95),
        ("modelward_objective_latency_seconds", {"model": "fraud", "bound": "1.0"}, 1.0),
        ("modelward_identity_requests_total", {"identity": "team-a"}, 64),
        ("modelward_identity_backend_seconds_total", {"identity": "team-a"}, 1.5),
        ("modelward_identity_refusals_total", {"identity": "team-a", "limit": "identity"}, 44),
        ("modelward_identity_denied_total", {"identity": "team-a"}, 45),
        ("modelward_identity_anomalies_total", {"identity": "team-a"}, 46),
        ("modelward_state_unsaved", {}, 1),
        ("modelward_state_write_failures_total", {}, 25),
        ("modelward_watch_failures_total", {}, 26),
        ("modelward_access_log_written_total", {}, 41),
        ("modelward_access_log_dropped_total", {"reason": "failed"}, 43),
        ("modelward_shadow_samples_lost_total", {}, 27),
        ("modelward_shadow_pairs_total", {**SHADOW, "outcome": "shadow_failed"}, 32),
        ("modelward_shadow_disagreement_total", SHADOW, 3.25),
        ("modelward_shadow_disagreeing_pairs_total", SHADOW, 33),
        ("modelward_shadow_mismatches_total", {**SHADOW, "kind": "nan_shadow"}, 34),
        ("modelward_shadow_dropped_total", {**SHADOW, "reason": "places"}, 35),
        ("modelward_shadow_answer_seconds_count", {**SHADOW, "side": "shadow"}, 10),
        ("modelward_shadow_verdict", {**SHADOW, "verdict": "worse"}, 1),
        ("modelward_inflight_bytes", {}, 4096),
        ("modelward_connections", {}, 12),
        ("modelward_connections_refused_total", {"reason": "peer_rate"}, 13),
        ("modelward_connections_closed_total", {"reason": "resets"}, 14),
    ],
)
def test_counters_and_gauges_show_the_snapshots_figures(name: str, labels: dict[str, str], expected: float) -> None:
    assert value(name, **labels) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nv_inference_request_success", 9),
        ("nv_inference_request_failure", 1),
        ("nv_inference_count", 12),
        ("nv_inference_exec_count", 5),
        ("nv_inference_request_duration_us", 9),
        ("nv_inference_queue_duration_us", 0.9),
        ("nv_inference_compute_input_duration_us", 0.09),
        ("nv_inference_compute_infer_duration_us", 7),
        ("nv_inference_compute_output_duration_us", 0.08),
        ("nv_inference_pending_request_count", 4),
    ],
)
def test_tritons_metrics_keep_its_names_and_its_microseconds(name: str, expected: float) -> None:
    assert value(name, **LABELS) == pytest.approx(expected)


def test_a_histogram_shows_cumulative_buckets_their_sum_and_their_count() -> None:
    assert value("modelward_request_seconds_bucket", **LABELS, outcome="ok", le="0.001") == 4
    assert value("modelward_request_seconds_bucket", **LABELS, outcome="ok", le="0.01") == 9
    assert value("modelward_request_seconds_bucket", **LABELS, outcome="ok", le="+Inf") == 10
    assert value("modelward_request_seconds_count", **LABELS, outcome="ok") == 10
    assert value("modelward_request_seconds_sum", **LABELS, outcome="ok") == 0.05


def test_each_stage_is_a_histogram_of_its_own() -> None:
    assert value("modelward_stage_seconds_bucket", stage="decode", model="fraud", le="1e-06") == 8
    assert value("modelward_stage_seconds_bucket", stage="score", model="fraud", le="1e-06") == 10


def test_strangers_have_requests_but_nothing_that_only_a_model_can_have() -> None:
    shown = {name for name, labels in samples() if ("model", OTHER_MODEL) in labels}
    assert shown == {"modelward_requests_total"}


def oracle() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(ModelwardCollector(lambda: SNAPSHOT))
    return registry


def headers(scrape: str) -> list[str]:
    """The lines that the parsers are lenient about."""
    return [line for line in scrape.splitlines() if line.startswith("#")]


def test_the_text_says_exactly_what_prometheus_client_says_of_the_same_snapshot() -> None:
    theirs, own = generate_latest(oracle()).decode(), render(SNAPSHOT, is_openmetrics=False)
    assert list(parse_text(own)) == list(parse_text(theirs))
    assert headers(own) == headers(theirs)


def test_the_openmetrics_form_says_exactly_what_prometheus_client_says_of_the_same_snapshot() -> None:
    theirs, own = openmetrics.generate_latest(oracle()).decode(), render(SNAPSHOT, is_openmetrics=True) + "# EOF\n"
    assert list(parse_openmetrics(own)) == list(parse_openmetrics(theirs))
    assert headers(own) == headers(theirs)


def test_the_openmetrics_form_is_valid_and_shows_the_same() -> None:
    scraped = Exposition(lambda: SNAPSHOT).openmetrics().decode()
    assert scraped.endswith("# EOF\n")
    flat = {
        (s.name, frozenset(s.labels.items())): s.value
        for family in ours(parse_openmetrics(scraped)).values()
        for s in family.samples
    }
    assert flat == {key: v for key, v in samples().items() if key[0].startswith(("modelward_", "nv_"))}


def test_a_label_with_quotes_and_newlines_stays_one_label() -> None:
    odd = 'a"b\\c\nd'
    snapshot = Snapshot(models={odd: ModelSnapshot(refusals={"R": 1})})
    scraped = samples(render(snapshot, is_openmetrics=False))
    assert scraped[("modelward_refusals_total", frozenset({("model", odd), ("reason", "R")}))] == 1


def test_the_process_the_platform_and_the_collector_are_shown_beside() -> None:
    shown = {m.name for m in parse_text(text())}
    assert {"process_resident_memory_bytes", "python_info", "python_gc_collections"} <= shown


def test_each_scrape_takes_one_snapshot_and_being_set_up_takes_none() -> None:
    taken: list[Snapshot] = []

    def take() -> Snapshot:
        taken.append(SNAPSHOT)
        return SNAPSHOT

    exposition = Exposition(take)
    CollectorRegistry().register(ModelwardCollector(take))
    assert not taken
    exposition.text()
    exposition.openmetrics()
    assert len(taken) == 2


def test_a_histogram_needs_one_count_more_than_bounds() -> None:
    with pytest.raises(ValueError, match="2 counts for 2 bounds and infinity"):
        Histogram((1.0, 2.0), (1, 2), 3.0)


def test_an_idle_server_can_be_scraped() -> None:
    assert "modelward_shadow" not in render(Snapshot(), is_openmetrics=False)
    assert samples(render(Snapshot(), is_openmetrics=False))[("modelward_inflight", frozenset())] == 0
