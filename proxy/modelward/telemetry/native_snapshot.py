"""The data plane's totals, copied into the plain data that the collector reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelward.status import Code
from modelward.telemetry.identities import of_identities
from modelward.telemetry.merge import added
from modelward.telemetry.snapshot import (
    OTHER_MODEL,
    CanarySnapshot,
    CloseReasonSnapshot,
    EndpointSnapshot,
    Histogram,
    LimitsSnapshot,
    ModelSnapshot,
    ShadowSnapshot,
    Snapshot,
    VersionSnapshot,
)
from modelward.telemetry.statistics import BatchStatistics, Statistics
from modelward_native.backend.breaker import STATES
from modelward_native.limits.limit import Limiter
from modelward_native.outputs.violations import budgets_used, violations
from modelward_native.region.region import Region
from modelward_native.shadow import shadows
from modelward_native.shadow.stats import Stats as Shadowed
from modelward_native.telemetry import stats
from modelward_native.telemetry.histogram import BOUNDS
from modelward_native.wire.close_reason import CLOSED, REFUSED

if TYPE_CHECKING:  # the supervisor has neither
    from modelward_native.backend.engine import Engine
    from modelward_native.backend.pool import Endpoint
    from modelward_native.wire.listener import Listener

NS = 1e9
# of modelward_native.shadow.stats.Sums
ENDINGS = ("compared", "primary_failed", "shadow_failed", "both_failed")
MISMATCHES = (
    "missing", "extra", "datatype", "shape", "unreadable", "unreadable_answers",
    "nan_primary", "nan_shadow", "nan_both",
)  # fmt: skip
SIDES = ("primary", "shadow")
SCORE_UNIT = 1e6  # modelward_native/telemetry/histogram.h, MW_SCORE_UNIT

Totals = dict[str, Any]
Folded = tuple[tuple[int, ...], tuple[int, ...], int]


def statistics(engine: Engine) -> Statistics:
    """Triton's totals of one version; it charges every request the whole time of the run it shared."""
    return _statistics(engine.totals())


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
        messages=native.messages,
        connected=int(native.connected),
        available=int(native.usable),
        breaker={state: int(state == native.state) for state in STATES},
        silences=native.silences,
        retries=native.retries,
        hedges=native.hedges,
        unconnected=native.unconnected,
        fails_canary=int(native.connected and native.fails_canary),
    )


def snapshot(region: Region, identities: Sequence[str] = ()) -> Snapshot:
    """All counters of all processes at this moment, but for what is not counted in the region. identities: that are
    counted by name."""
    models: dict[str, ModelSnapshot] = {OTHER_MODEL: ModelSnapshot()}
    for (name, number), t in stats.models(region).items():
        if not name:
            other = ModelSnapshot({number: VersionSnapshot(requests=_codes(t["codes"]))}, refusals=t["refusals"])
            models[OTHER_MODEL] = added(models[OTHER_MODEL], other)
            continue
        version = VersionSnapshot(
            requests=_codes(t["codes"]),
            seconds={name: _scaled(each, NS) for name, each in t["request"].items() if each is not None},
            statistics=_statistics(t),
            pending=t["pending"],
            waiting=t["waiting"],
            concurrency=t["concurrency"],
            canary=_canary(t) if t["canary_runs"] else None,
        )
        model = _model(number, version, t)
        models[name] = added(models[name], model) if name in models else model
    inflight, held, connections = region.gauges()
    limiter = Limiter(region=region)
    limits = LimitsSnapshot(limiter.owing(time.monotonic_ns()), limiter.capacity)
    return Snapshot(
        models=models,
        inflight=inflight,
        inflight_bytes=held,
        connections=connections,
        limits=limits,
        output_violations=violations(region),
        output_budgets=budgets_used(region, time.monotonic_ns()),
        identities=of_identities(region, identities),
        shadows={key: _shadow(total) for key, total in shadows.totals(region).items()},
    )


def _shadow(total: Shadowed) -> ShadowSnapshot:
    sums: Totals = {**total.sums()}
    return ShadowSnapshot(
        pairs={ending: sums[ending] for ending in ENDINGS},
        disagreement=sums["disagreement"],
        disagreeing=sums["disagreeing"],
        mismatches={kind: sums[kind] for kind in MISMATCHES},
        dropped=sums["dropped"],
        seconds={
            side: _scaled(folded, NS)
            for side, folded in zip(SIDES, shadows.latencies(total), strict=True)
            if folded is not None
        },
    )


def close_reasons(listener: Listener) -> CloseReasonSnapshot:
    """Connections that this process has refused and closed."""
    counts = {why: count for why, (count, _) in listener.close_reasons().items()}
    return CloseReasonSnapshot({why: counts[why] for why in REFUSED}, {why: counts[why] for why in CLOSED})


def _model(version: str, stats_of_version: VersionSnapshot, t: Totals) -> ModelSnapshot:
    """A model of one version. What is counted per model is the sum over its versions."""
    return ModelSnapshot(
        versions={version: stats_of_version},
        refusals=t["refusals"],
        stages={name: _scaled(folded, NS) for name, folded in t["stages"].items() if folded is not None},
        anomaly_score=_scaled(t["score"], SCORE_UNIT) if t["score"] else None,
        anomalies=t["anomalies"],
        restricted=t["restricted"],
        observed=t["observed"],
        withheld=t["withheld"],
        steps=t["steps"],
        unscored=t["unscored"],
        partly_scored=t["partly_scored"],
        unwatched=t["unwatched"],
        fallbacks=t["fallbacks"],
        batch_rows=_rows(t),
        late_results=t["late"],
        predicted_seconds=t["predicted_ns"] / NS,
        taken_seconds=t["taken_ns"] / NS,
    )


def _canary(t: Totals) -> CanarySnapshot:
    return CanarySnapshot(t["canary_runs"] - t["canary_failures"], t["canary_failures"], t["failing"])


def _codes(codes: dict[int, int]) -> dict[str, int]:
    return {Code(code).name: count for code, count in codes.items()}


def _scaled(folded: Folded, unit: float) -> Histogram:
    bounds, cumulative, total = folded
    return Histogram(tuple(b / unit for b in bounds), cumulative, total / unit)


def _seconds(folded: Folded | None) -> Histogram | None:
    return _scaled(folded, NS) if folded is not None else None


def _rows(t: Totals) -> Histogram:
    """Rows per run; the size classes are powers of two, the last of which is open."""
    runs = {rows: count for rows, count, _ in t["batches"]}
    bounds = tuple(1 << i for i in range(15))
    cumulative, total = [], 0
    for bound in bounds:
        total += runs.get(bound, 0)
        cumulative.append(total)
    return Histogram(tuple(map(float, bounds)), (*cumulative, t["runs"]), float(t["rows"]))
