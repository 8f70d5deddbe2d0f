"""Metrics of models and their versions, those of Triton among them, and of shadows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import ModelSnapshot, Snapshot, VersionSnapshot
from modelward.telemetry.statistics import Statistics

# Triton's counters: name, help, value. Its durations are microseconds.
TRITON: tuple[tuple[str, str, Callable[[Statistics], float]], ...] = (
    ("nv_inference_request_success", "Successful requests", lambda s: s.success_count),
    ("nv_inference_request_failure", "Failed requests", lambda s: s.fail_count),
    ("nv_inference_count", "Rows that were inferred", lambda s: s.inference_count),
    ("nv_inference_exec_count", "Executions of a batch", lambda s: s.execution_count),
    ("nv_inference_request_duration_us", "Sum of the times from arrival to response", lambda s: s.success_ns / 1000),
    ("nv_inference_queue_duration_us", "Sum of the times in the queue", lambda s: s.queue_ns / 1000),
    (
        "nv_inference_compute_input_duration_us",
        "Sum of the times to prepare inputs",
        lambda s: s.compute_input_ns / 1000,
    ),
    ("nv_inference_compute_infer_duration_us", "Sum of the times in the model", lambda s: s.compute_infer_ns / 1000),
    (
        "nv_inference_compute_output_duration_us",
        "Sum of the times to read outputs",
        lambda s: s.compute_output_ns / 1000,
    ),
)


REFUSALS_HELP = "Requests that ended without an answer of the model or a fallback, by reason"
STAGE_HELP = (
    "Time in one stage: of one message in 64 for access, limit, decode and score, of every run for the other stages"
)


def model_families(snapshot: Snapshot) -> Iterator[Family]:
    yield from _per_version(snapshot)
    yield from _per_model(snapshot)
    yield _output_violations(snapshot)
    yield _output_budgets(snapshot)
    yield from _shadows(snapshot)


def _versions(snapshot: Snapshot) -> Iterator[tuple[str, str, VersionSnapshot]]:
    for name, model in snapshot.models.items():
        for version, stats in model.versions.items():
            yield name, version, stats


def _per_version(snapshot: Snapshot) -> Iterator[Family]:
    requests = Family(
        "modelward_requests", "counter", "Finished inference requests, by gRPC code", ("model", "version", "code")
    )
    seconds = Family(
        "modelward_request_seconds",
        "histogram",
        "Time from headers to trailers of every request, by outcome: ok, fallback, refused or failed",
        ("model", "version", "outcome"),
    )
    waiting = Family(
        "modelward_waiting", "gauge", "Requests that wait for a permit of the backend", ("model", "version")
    )
    places = Family(
        "modelward_concurrency_limit",
        "gauge",
        "Permits of the backend: requests that it may have at a time",
        ("model", "version"),
    )
    failing = Family(
        "modelward_canary_failing", "gauge", "Workers in which the version fails its canary", ("model", "version")
    )
    canaries = Family(
        "modelward_canary_runs", "counter", "Runs of canaries: passed or failed", ("model", "version", "result")
    )
    for name, version, stats in _versions(snapshot):
        if stats.canary is not None:
            failing.add((name, version), stats.canary.failing)
            canaries.add((name, version, "passed"), stats.canary.passed)
            canaries.add((name, version, "failed"), stats.canary.failed)
        for code, count in stats.requests.items():
            requests.add((name, version, code), count)
        for outcome, histogram in stats.seconds.items():
            seconds.add((name, version, outcome), histogram)
        if stats.statistics is not None:
            waiting.add((name, version), stats.waiting)
            places.add((name, version), stats.concurrency)
    yield from (requests, seconds, waiting, places, failing, canaries)


def _per_model(snapshot: Snapshot) -> Iterator[Family]:
    refusals = Family("modelward_refusals", "counter", REFUSALS_HELP, ("model", "reason"))
    stages = Family("modelward_stage_seconds", "histogram", STAGE_HELP, ("stage", "model"))
    scores = Family("modelward_anomaly_score", "histogram", "Anomaly scores of requests", ("model",))
    anomalies = Family("modelward_anomalies", "counter", "Requests that were flagged as anomalous", ("model",))
    restricted = Family(
        "modelward_detection_requests",
        "counter",
        "Requests of callers at a step, whatever has become of them",
        ("model", "step"),
    )
    observed = Family(
        "modelward_detection_observed_requests",
        "counter",
        "Requests of callers that would be at a step, if their model acted: it observes",
        ("model", "step"),
    )
    withheld = Family(
        "modelward_detection_withheld",
        "counter",
        "Answers that callers, at no step or a milder one, did not get for where their rows lie, by what they got",
        ("model", "got"),
    )
    steps = Family(
        "modelward_detection_steps",
        "counter",
        "Identities that came to a step, up or down, by their strongest evidence or their budget",
        ("model", "step", "signal"),
    )
    unscored = Family("modelward_unscored", "counter", "Requests that could not be scored", ("model",))
    partly_scored = Family("modelward_partly_scored", "counter", "Requests with more rows than are scored", ("model",))
    unwatched = Family(
        "modelward_detection_unwatched",
        "counter",
        "Requests whose rows were no evidence, since there was no memory for them",
        ("model",),
    )
    fallbacks = Family(
        "modelward_fallbacks", "counter", "Responses of a fallback, by the reason it was needed", ("model", "reason")
    )
    rows = Family("modelward_batch_rows", "histogram", "Rows of one execution", ("model",))
    late = Family(
        "modelward_late_results", "counter", "Results that came after the client had its response", ("model",)
    )
    predicted = Family(
        "modelward_backend_time_predicted_seconds",
        "counter",
        "Backend time that requests were charged in advance, where limits are in backend time",
        ("model",),
    )
    taken = Family(
        "modelward_backend_time_taken_seconds", "counter", "Backend time that these requests took", ("model",)
    )
    undecoded = Family(
        "modelward_undecoded", "gauge", "1 where requests for the model pass undecoded and unscored", ("model",)
    )
    for name, model in snapshot.models.items():
        for reason, count in model.refusals.items():
            refusals.add((name, reason), count)
        for stage, histogram in model.stages.items():
            stages.add((stage, name), histogram)
        for reason, count in model.fallbacks.items():
            fallbacks.add((name, reason), count)
        scores.add((name,), model.anomaly_score)
        rows.add((name,), model.batch_rows)
        if _can_execute(model):
            anomalies.add((name,), model.anomalies)
            for step, count in model.restricted.items():
                restricted.add((name, step), count)
            for step, count in model.observed.items():
                observed.add((name, step), count)
            for got, count in model.withheld.items():
                withheld.add((name, got), count)
            for (step, signal), count in model.steps.items():
                steps.add((name, step, signal), count)
            unscored.add((name,), model.unscored)
            partly_scored.add((name,), model.partly_scored)
            unwatched.add((name,), model.unwatched)
            late.add((name,), model.late_results)
            predicted.add((name,), model.predicted_seconds)
            taken.add((name,), model.taken_seconds)
            undecoded.add((name,), model.undecoded)
    watching = (restricted, observed, withheld, steps, unwatched)
    scoring = (scores, anomalies, *watching, unscored, partly_scored)
    yield from (refusals, stages, *scoring, fallbacks, rows, late, predicted, taken, undecoded)


def _output_violations(snapshot: Snapshot) -> Family:
    violations = Family(
        "modelward_output_guard_violations",
        "counter",
        "Answers that were not as a guard of an output says, by what came of it",
        ("model", "output", "guard", "action"),
    )
    for key, counts in snapshot.output_violations.items():
        for (guard, action), count in counts.items():
            violations.add((*key, guard, action), count)
    return violations


def _output_budgets(snapshot: Snapshot) -> Family:
    used = Family(
        "modelward_output_budget_used",
        "gauge",
        "Part of an output's budget that is used, of several the largest; 1 is all of it",
        ("model", "output"),
    )
    for key, part in snapshot.output_budgets.items():
        used.add(key, part)
    return used


def _shadows(snapshot: Snapshot) -> Iterator[Family]:
    """version: of the primary. Nothing where no shadow is served."""
    if not snapshot.shadows:
        return
    labels = ("model", "version", "shadow")
    pairs = Family(
        "modelward_shadow_pairs", "counter", "Pairs of answers of model and shadow, by outcome", (*labels, "outcome")
    )
    disagreement = Family(
        "modelward_shadow_disagreement", "counter", "Sum of the disagreement (0 to 1) of compared pairs", labels
    )
    disagreeing = Family(
        "modelward_shadow_disagreeing_pairs", "counter", "Compared pairs that disagree in something", labels
    )
    mismatches = Family(
        "modelward_shadow_mismatches",
        "counter",
        "Outputs and numbers that cannot be compared, by kind",
        (*labels, "kind"),
    )
    dropped = Family(
        "modelward_shadow_dropped", "counter", "Requests that were not mirrored, by reason", (*labels, "reason")
    )
    seconds = Family(
        "modelward_shadow_answer_seconds",
        "histogram",
        "Time to the answer, of the model (primary) and of the shadow",
        (*labels, "side"),
    )
    lost = Family("modelward_shadow_samples_lost", "counter", "Samples that could not be written to the folder state")
    lost.add((), snapshot.samples_lost)
    verdict = Family(
        "modelward_shadow_verdict", "gauge", "1 for the present verdict on the shadow", (*labels, "verdict")
    )
    for key, shadow in snapshot.shadows.items():
        for family, by in (
            (pairs, shadow.pairs),
            (mismatches, shadow.mismatches),
            (dropped, shadow.dropped),
            (seconds, shadow.seconds),
            (verdict, shadow.verdict),
        ):
            for label, value in by.items():
                family.add((*key, label), value)
        disagreement.add(key, shadow.disagreement)
        disagreeing.add(key, shadow.disagreeing)
    yield from (pairs, disagreement, disagreeing, mismatches, dropped, seconds, lost, verdict)


def triton_families(snapshot: Snapshot) -> Iterator[Family]:
    labels = ("model", "version")
    # Unknown, because both exposition formats want counters to end in _total, and Triton's dashboards do not.
    counters = [(Family(name, "unknown", text, labels), value) for name, text, value in TRITON]
    pending = Family("nv_inference_pending_request_count", "gauge", "Requests in the queue", labels)
    for name, version, stats in _versions(snapshot):
        if stats.statistics is None:
            continue
        for family, value in counters:
            family.add((name, version), value(stats.statistics))
        pending.add((name, version), stats.pending)
    yield from (family for family, _ in counters)
    yield pending


def _can_execute(model: ModelSnapshot) -> bool:
    return any(stats.statistics is not None for stats in model.versions.values())
