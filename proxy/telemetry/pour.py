"""The data plane's totals, poured into the plain data that the collector reads."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from native.histogram import BOUNDS
from native.pipeline import Server
from native.pool import Endpoint
from native.served import Served
from proxy.models.catalog import BatchStatistics, Statistics
from proxy.status import Code
from proxy.telemetry.snapshot import (
    OTHER_MODEL,
    EndpointSnapshot,
    Histogram,
    ModelSnapshot,
    PoolSnapshot,
    Snapshot,
    VersionSnapshot,
)

NS = 1e9
SCORE_UNIT = 1e6  # native/csrc/histogram.h, MW_SCORE_UNIT

Totals = dict[str, Any]
Folded = tuple[tuple[int, ...], tuple[int, ...], int]


def statistics(served: Served) -> Statistics:
    """Triton's totals of one version; it charges every request the whole time of the run it shared."""
    return _statistics(served.totals())


def _statistics(t: Totals) -> Statistics:
    per_run = t["queued"] / t["runs"] if t["runs"] else 0
    return Statistics(
        success_count=t["success"],
        success_ns=t["success_ns"],
        fail_count=t["fail"],
        fail_ns=t["fail_ns"],
        queue_count=t["queued"],
        queue_ns=t["queue_ns"],
        compute_input_count=t["queued"],
        compute_input_ns=round(t["input_ns"] * per_run),
        compute_infer_count=t["queued"],
        compute_infer_ns=round(t["compute_ns"] * per_run),
        compute_output_count=t["queued"],
        compute_output_ns=round(t["output_ns"] * per_run),
        inference_count=t["rows"],
        execution_count=t["runs"],
        last_inference_ms=_unix_ms(t["last_ns"]),
        batch_stats=[BatchStatistics(rows, runs, 0, ns, 0) for rows, runs, ns in t["batches"]],
    )


def _unix_ms(monotonic_ns: int) -> int:
    return round((time.time_ns() - time.monotonic_ns() + monotonic_ns) / 1e6) if monotonic_ns else 0


def endpoint(native: Endpoint) -> EndpointSnapshot:
    """The totals and the state of one endpoint."""
    answers = native.answers
    return EndpointSnapshot(
        requests=native.requests,
        failures=native.failures,
        ejections=native.ejections,
        seconds=_seconds((BOUNDS, (*answers.fold(BOUNDS), answers.count), answers.sum)),
        inflight=native.inflight,
        connected=int(native.connected),
        available=int(native.connected and native.healthy and not native.ejected),
    )


def both(a: EndpointSnapshot, b: EndpointSnapshot) -> EndpointSnapshot:
    """Two endpoints of one address as one."""
    return EndpointSnapshot(
        requests=a.requests + b.requests,
        failures=a.failures + b.failures,
        ejections=a.ejections + b.ejections,
        seconds=_added(a.seconds, b.seconds) if b.seconds else a.seconds,
        inflight=a.inflight + b.inflight,
        connected=a.connected + b.connected,
        available=a.available + b.available,
    )


def snapshot(
    server: Server,
    models: Iterable[Served],
    endpoints: Mapping[str, EndpointSnapshot] | None = None,
    pools: Mapping[str, PoolSnapshot] | None = None,
) -> Snapshot:
    """All counters at this moment; called on the loop's thread, which owns them."""
    poured: dict[str, ModelSnapshot] = {}
    for served in models:
        t = served.totals()
        version = VersionSnapshot(
            requests=_codes(t["codes"]), seconds=_seconds(t["request"]), statistics=_statistics(t), pending=t["pending"]
        )
        poured[served.name] = _joined(poured.get(served.name), served.version, version, t)
    other = server.totals()
    poured[OTHER_MODEL] = ModelSnapshot(
        versions={"": VersionSnapshot(requests=_codes(other["codes"]))}, refusals=other["refusals"]
    )
    return Snapshot(
        models=poured,
        inflight=other["inflight"],
        connections=other["connections"],
        endpoints=endpoints or {},
        pools=pools or {},
    )


def _joined(before: ModelSnapshot | None, version: str, snapshot: VersionSnapshot, t: Totals) -> ModelSnapshot:
    """The model with one more version: what is counted per model is the sum over its versions."""
    before = before or ModelSnapshot()
    return ModelSnapshot(
        versions={**before.versions, version: snapshot},
        refusals=_sum(before.refusals, t["refusals"]),
        stages={name: _added(before.stages.get(name), _seconds(folded)) for name, folded in t["stages"].items()},
        anomaly_score=(
            _added(before.anomaly_score, _scaled(t["score"], SCORE_UNIT)) if t["score"] else before.anomaly_score
        ),
        anomalies=before.anomalies + t["anomalies"],
        fallbacks=_sum(before.fallbacks, t["fallbacks"]),
        batch_rows=_added(before.batch_rows, _rows(t)),
        late_results=before.late_results + t["late"],
    )


def _codes(codes: dict[int, int]) -> dict[str, int]:
    return {Code(code).name: count for code, count in codes.items()}


def _sum(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    total = dict(a)
    for key, count in b.items():
        total[key] = total.get(key, 0) + count
    return total


def _scaled(folded: Folded, unit: float) -> Histogram:
    bounds, cumulative, total = folded
    return Histogram(tuple(b / unit for b in bounds), cumulative, total / unit)


def _seconds(folded: Folded) -> Histogram:
    return _scaled(folded, NS)


def _added(a: Histogram | None, b: Histogram) -> Histogram:
    if a is None:
        return b
    return Histogram(b.bounds, tuple(x + y for x, y in zip(a.cumulative, b.cumulative, strict=True)), a.sum + b.sum)


def _rows(t: Totals) -> Histogram:
    """Rows per run; the size classes are powers of two, the last of which is open."""
    runs = {rows: count for rows, count, _ in t["batches"]}
    bounds = tuple(1 << i for i in range(15))
    cumulative, total = [], 0
    for bound in bounds:
        total += runs.get(bound, 0)
        cumulative.append(total)
    return Histogram(tuple(map(float, bounds)), (*cumulative, t["runs"]), float(t["rows"]))
