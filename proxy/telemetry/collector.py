"""Every metric and every label Modelward exposes, and nothing else: the one file that names them.

A scrape takes one snapshot and walks it; nothing is kept between scrapes.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UntypedMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from proxy.models.catalog import Statistics
from proxy.telemetry.snapshot import Histogram, ModelSnapshot, Snapshot, VersionSnapshot

# Triton's counters: name, help, value. Its durations are microseconds.
TRITON: tuple[tuple[str, str, Callable[[Statistics], float]], ...] = (
    ("nv_inference_request_success", "Requests answered", lambda s: s.success_count),
    ("nv_inference_request_failure", "Requests failed", lambda s: s.fail_count),
    ("nv_inference_count", "Rows inferred", lambda s: s.inference_count),
    ("nv_inference_exec_count", "Executions, each of one batch", lambda s: s.execution_count),
    ("nv_inference_request_duration_us", "Time from entry to answer, summed", lambda s: s.success_ns / 1000),
    ("nv_inference_queue_duration_us", "Time waiting for an execution, summed", lambda s: s.queue_ns / 1000),
    ("nv_inference_compute_input_duration_us", "Time preparing inputs, summed", lambda s: s.compute_input_ns / 1000),
    ("nv_inference_compute_infer_duration_us", "Time inside the model, summed", lambda s: s.compute_infer_ns / 1000),
    ("nv_inference_compute_output_duration_us", "Time taking outputs, summed", lambda s: s.compute_output_ns / 1000),
)


class ModelwardCollector(Collector):
    """Turns one snapshot per scrape into metric families. `take` is called on the thread that scrapes: the loop's."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def describe(self) -> list[Metric]:
        """Empty: the registry would otherwise take a snapshot before the data plane exists, only to learn names."""
        return []

    def collect(self) -> Iterator[Metric]:
        snapshot = self._take()
        yield GaugeMetricFamily("modelward_inflight", "Requests being worked on", snapshot.inflight)
        yield GaugeMetricFamily("modelward_connections", "Open gRPC connections", snapshot.connections)
        yield from _per_version(snapshot)
        yield from _per_model(snapshot)
        yield from _triton(snapshot)


def registry(take: Callable[[], Snapshot]) -> CollectorRegistry:
    """A registry of its own with the process's, the platform's and the garbage collector's metrics beside ours."""
    own = CollectorRegistry()
    own.register(ModelwardCollector(take))
    ProcessCollector(registry=own)
    PlatformCollector(registry=own)
    GCCollector(registry=own)
    return own


def _versions(snapshot: Snapshot) -> Iterator[tuple[str, str, VersionSnapshot]]:
    for name, model in snapshot.models.items():
        for version, figures in model.versions.items():
            yield name, version, figures


def _per_version(snapshot: Snapshot) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "modelward_requests", "Inference requests finished", labels=("model", "version", "code")
    )
    seconds = HistogramMetricFamily(
        "modelward_request_seconds", "Time from entry to trailers", labels=("model", "version")
    )
    for name, version, figures in _versions(snapshot):
        for code, count in figures.requests.items():
            requests.add_metric((name, version, code), count)
        _add(seconds, (name, version), figures.seconds)
    yield requests
    yield seconds


def _per_model(snapshot: Snapshot) -> Iterator[Metric]:
    refusals = CounterMetricFamily("modelward_refusals", "Requests refused by a guard", labels=("model", "reason"))
    stages = HistogramMetricFamily("modelward_stage_seconds", "Time in one stage", labels=("stage", "model"))
    scores = HistogramMetricFamily("modelward_anomaly_score", "Anomaly scores of requests", labels=("model",))
    anomalies = CounterMetricFamily("modelward_anomalies", "Requests outside the training profile", labels=("model",))
    fallbacks = CounterMetricFamily("modelward_fallbacks", "Answers given by a fallback", labels=("model", "reason"))
    rows = HistogramMetricFamily("modelward_batch_rows", "Rows per execution", labels=("model",))
    late = CounterMetricFamily("modelward_late_results", "Results dropped, their answer was given", labels=("model",))
    for name, model in snapshot.models.items():
        for reason, count in model.refusals.items():
            refusals.add_metric((name, reason), count)
        for stage, histogram in model.stages.items():
            _add(stages, (stage, name), histogram)
        for reason, count in model.fallbacks.items():
            fallbacks.add_metric((name, reason), count)
        _add(scores, (name,), model.anomaly_score)
        _add(rows, (name,), model.batch_rows)
        if _can_execute(model):
            anomalies.add_metric((name,), model.anomalies)
            late.add_metric((name,), model.late_results)
    yield from (refusals, stages, scores, anomalies, fallbacks, rows, late)


def _triton(snapshot: Snapshot) -> Iterator[Metric]:
    # Untyped, because both exposition formats want counters to end in _total, and Triton's dashboards do not.
    families = [(UntypedMetricFamily(name, text, labels=("model", "version")), value) for name, text, value in TRITON]
    pending = GaugeMetricFamily("nv_inference_pending_request_count", "Requests waiting", labels=("model", "version"))
    for name, version, figures in _versions(snapshot):
        if figures.statistics is None:
            continue
        for family, value in families:
            family.add_metric((name, version), value(figures.statistics))
        pending.add_metric((name, version), figures.pending)
    yield from (family for family, _ in families)
    yield pending


def _can_execute(model: ModelSnapshot) -> bool:
    return any(figures.statistics is not None for figures in model.versions.values())


def _add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram | None) -> None:
    if histogram is None:
        return
    bounds = (*map(floatToGoString, histogram.bounds), "+Inf")
    family.add_metric(labels, list(zip(bounds, histogram.cumulative, strict=True)), histogram.sum)
