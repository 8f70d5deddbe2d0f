"""Every metric and every label Modelward exposes, and nothing else: the one file that names them.

`families` turns a snapshot into named rows. Two readers share it: `ModelwardCollector`, for whoever has a
prometheus_client registry, and `modelward.telemetry.exposition`, which writes /metrics at a twelfth of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from modelward.telemetry.snapshot import Histogram, ModelSnapshot, Snapshot, VersionSnapshot, le_labels
from modelward.telemetry.statistics import Statistics

Kind = Literal["counter", "gauge", "histogram", "unknown"]


@dataclass(slots=True)
class Family:
    """One metric. `name` is without _total; each row has a value per label, then the figure (Histogram for those)."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    rows: list[tuple[tuple[str, ...], float | Histogram]] = field(default_factory=list)

    def add(self, labels: tuple[str, ...], figure: float | Histogram | None) -> None:
        """No row for None, a figure that these labels do not have, and for an empty histogram."""
        if figure is not None and not (isinstance(figure, Histogram) and not figure.cumulative[-1]):
            self.rows.append((labels, figure))


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


# how each count of AccessSnapshot is called as a label
CREDENTIAL_RESULTS = {
    "hits": "known",
    "misses": "checked",
    "refused": "check_failed",
    "known_bad": "known_bad",
}


STAGE_HELP = (
    "Time in one stage: of one message in 64 for access, limit, decode and score, of every run for the other stages"
)


def families(snapshot: Snapshot) -> Iterator[Family]:
    if snapshot.build:
        build = Family(
            "modelward_build_info",
            "gauge",
            "Always 1. The labels are the versions of Modelward and its libraries",
            (*snapshot.build,),
        )
        build.add((*snapshot.build.values(),), 1)
        yield build
    yield Family("modelward_inflight", "gauge", "Requests in flight", rows=[((), snapshot.inflight)])
    held = "Bytes of requests in flight and of responses that clients have not read"
    yield Family("modelward_inflight_bytes", "gauge", held, rows=[((), snapshot.inflight_bytes)])
    yield Family("modelward_connections", "gauge", "Open gRPC connections", rows=[((), snapshot.connections)])
    yield from _workers(snapshot)
    yield from _limits(snapshot)
    yield from _shared(snapshot)
    yield from _partings(snapshot)
    yield from _reloads(snapshot)
    watch = "Changes of configuration or repository that an error kept from being followed. SIGHUP reloads"
    yield Family("modelward_watch_failures", "counter", watch, rows=[((), snapshot.watch_failures)])
    yield from _promotions(snapshot)
    yield from _crashes(snapshot)
    yield from _tls(snapshot)
    yield from _access(snapshot)
    yield from _scrapes(snapshot)
    yield from _per_version(snapshot)
    yield from _per_model(snapshot)
    yield from _shadows(snapshot)
    yield from _upstreams(snapshot)
    yield from _triton(snapshot)


def _workers(snapshot: Snapshot) -> Iterator[Family]:
    if (workers := snapshot.workers) is None:
        return
    restarts = Family("modelward_worker_restarts", "counter", "Workers that were replaced, by reason", ("reason",))
    for reason, count in workers.restarts.items():
        restarts.add((reason,), count)
    yield Family("modelward_workers", "gauge", "Workers that accept requests", rows=[((), workers.ready)])
    yield restarts


def _limits(snapshot: Snapshot) -> Iterator[Family]:
    if (limits := snapshot.limits) is None:
        return
    yield Family(
        "modelward_limit_cells",
        "gauge",
        "Peers and identities whose rate limits are tracked now",
        rows=[((), limits.cells)],
    )
    capacity = Family(
        "modelward_limit_cells_capacity",
        "gauge",
        "Peers and identities that can be tracked; all further ones share a limit",
    )
    capacity.add((), limits.capacity)
    yield capacity


def _shared(snapshot: Snapshot) -> Iterator[Family]:
    if (shared := snapshot.shared) is None:
        return
    syncs = Family(
        "modelward_shared_limits_syncs", "counter", "Exchanges with the store of shared limits, by result", ("result",)
    )
    trips = Family("modelward_shared_limits_round_trip_seconds", "histogram", "Time of an exchange with the store")
    unbooked = Family(
        "modelward_shared_limits_unbooked",
        "counter",
        "Requests that counted only on this server, because it has too many identities",
    )
    yield Family(
        "modelward_shared_limits_up", "gauge", "1 while the store of shared limits answers", rows=[((), shared.up)]
    )
    for result, count in shared.syncs.items():
        syncs.add((result,), count)
    trips.add((), shared.seconds)
    unbooked.add((), shared.unbooked)
    yield from (syncs, trips, unbooked)
    yield Family(
        "modelward_shared_limits_cells",
        "gauge",
        "Limits in the last exchange with the store",
        rows=[((), shared.cells)],
    )


def _partings(snapshot: Snapshot) -> Iterator[Family]:
    refused = Family(
        "modelward_connections_refused", "counter", "Connections that were refused on arrival, by reason", ("reason",)
    )
    closed = Family(
        "modelward_connections_closed", "counter", "Connections that this server closed, by reason", ("reason",)
    )
    for why, count in snapshot.partings.refused.items():
        refused.add((why,), count)
    for why, count in snapshot.partings.closed.items():
        closed.add((why,), count)
    yield from (refused, closed)


def _reloads(snapshot: Snapshot) -> Iterator[Family]:
    if (figures := snapshot.reloads) is None:
        return
    reloads = Family(
        "modelward_reloads",
        "counter",
        "Reloads of configuration and repository: applied, partial or refused",
        ("result",),
    )
    in_order = Family(
        "modelward_last_reload_successful",
        "gauge",
        "0 after a reload that was refused as a whole or for a model; what was served before goes on",
    )
    reloads.add(("applied",), figures.applied)
    reloads.add(("partial",), figures.partial)
    reloads.add(("refused",), figures.refused)
    in_order.add((), 1 - figures.failing)
    yield from (reloads, in_order)
    text = "Versions in the repository that cannot be served. The log and RepositoryIndex say why"
    yield Family("modelward_models_refused", "gauge", text, rows=[((), snapshot.refused)])


def _promotions(snapshot: Snapshot) -> Iterator[Family]:
    """reason: of a promotion that was taken back the bound that was passed, or "asked"; else empty."""
    share = "Share (0 to 1) of the requests without a version that this version gets"
    shares = Family("modelward_version_share", "gauge", share, ("model", "version"))
    ended = Family(
        "modelward_promotions",
        "counter",
        "Promotions that have ended: done, or rolled_back with a reason",
        ("model", "outcome", "reason"),
    )
    for model, versions in snapshot.shares.items():
        for version, part in versions.items():
            shares.add((model, version), part)
    for labels, count in snapshot.promotions.items():
        ended.add(labels, count)
    yield from (shares, ended)
    if (state := snapshot.state) is not None:
        unsaved = "1 while a promotion or rollback is not saved on disk. A restart would undo it"
        yield Family("modelward_state_unsaved", "gauge", unsaved, rows=[((), state.unsaved)])
        failures = "Failed writes of promotions and rollbacks to disk"
        yield Family("modelward_state_write_failures", "counter", failures, rows=[((), state.failures)])


def _crashes(snapshot: Snapshot) -> Iterator[Family]:
    labels = ("model", "version")
    crashes = Family("modelward_crashes", "counter", "Workers that died in a run of the version", labels)
    contained = Family(
        "modelward_contained",
        "gauge",
        "Input shapes that the version is not run with, for one caller or for all",
        labels,
    )
    deaths = Family(
        "modelward_worker_deaths",
        "counter",
        "Workers that died, by cause: run, unattributed, signal or exit",
        ("cause",),
    )
    for key, count in snapshot.crashes.items():
        crashes.add(key, count)
    for key, count in snapshot.contained.items():
        contained.add(key, count)
    for cause, number in snapshot.deaths.items():
        deaths.add((cause,), number)
    yield from (crashes, contained, deaths)


def _tls(snapshot: Snapshot) -> Iterator[Family]:
    if (tls := snapshot.tls) is None:
        return
    end = Family(
        "modelward_tls_certificate_not_after_seconds", "gauge", "End of the certificate, in seconds since 1970"
    )
    reloads = Family("modelward_tls_reloads", "counter", "Changed certificate files: loaded or failed", ("result",))
    handshakes = Family("modelward_tls_handshake_failures", "counter", "TLS handshakes that failed or timed out")
    end.add((), tls.not_after)
    reloads.add(("loaded",), tls.reloads)
    reloads.add(("failed",), tls.failed_reloads)
    handshakes.add((), tls.failed_handshakes)
    yield from (end, reloads, handshakes)


def _access(snapshot: Snapshot) -> Iterator[Family]:
    if (access := snapshot.access) is None:
        return
    credentials = Family(
        "modelward_access_credentials",
        "counter",
        "Credentials of calls: known, checked, check_failed or known_bad",
        ("result",),
    )
    for count, result in CREDENTIAL_RESULTS.items():
        credentials.add((result,), getattr(access, count))
    cached = Family("modelward_access_cached_credentials", "gauge", "Verified credentials in the cache")
    identities = Family("modelward_access_identities", "gauge", "Identities that are known")
    reloads = Family("modelward_access_failed_reloads", "counter", "Failed reloads of key files")
    had = Family(
        "modelward_access_key_set_timestamp_seconds",
        "gauge",
        "Time of the last download of the issuer's key set, in seconds since 1970",
    )
    failures = Family("modelward_access_key_set_failures", "counter", "Failed downloads of the issuer's key set")
    cached.add((), access.cached)
    identities.add((), access.identities)
    reloads.add((), access.failed_reloads)
    yield from (credentials, cached, identities, reloads)
    if access.key_set is not None:
        had.add((), access.key_set.had)
        failures.add((), access.key_set.failures)
        yield from (had, failures)


def _scrapes(snapshot: Snapshot) -> Iterator[Family]:
    if (scrapes := snapshot.scrapes) is None:
        return
    pages = Family("modelward_scrapes", "counter", "Scrapes of /metrics: page made, or reused", ("page",))
    pages.add(("made",), scrapes.made)
    pages.add(("reused",), scrapes.reused)
    yield pages
    spent = Family("modelward_scrape_seconds", "counter", "CPU time spent on pages of metrics")
    spent.add((), scrapes.seconds)
    size = Family("modelward_scrape_bytes", "gauge", "Size of the page of metrics before compression")
    size.add((), scrapes.size)
    yield from (spent, size)


def _versions(snapshot: Snapshot) -> Iterator[tuple[str, str, VersionSnapshot]]:
    for name, model in snapshot.models.items():
        for version, figures in model.versions.items():
            yield name, version, figures


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
    for name, version, figures in _versions(snapshot):
        if figures.canary is not None:
            failing.add((name, version), figures.canary.failing)
            canaries.add((name, version, "passed"), figures.canary.passed)
            canaries.add((name, version, "failed"), figures.canary.failed)
        for code, count in figures.requests.items():
            requests.add((name, version, code), count)
        for outcome, histogram in figures.seconds.items():
            seconds.add((name, version, outcome), histogram)
        if figures.statistics is not None:
            waiting.add((name, version), figures.waiting)
            places.add((name, version), figures.concurrency)
    yield from (requests, seconds, waiting, places, failing, canaries)


def _per_model(snapshot: Snapshot) -> Iterator[Family]:
    refusals = Family("modelward_refusals", "counter", "Refused requests, by reason", ("model", "reason"))
    stages = Family("modelward_stage_seconds", "histogram", STAGE_HELP, ("stage", "model"))
    scores = Family("modelward_anomaly_score", "histogram", "Anomaly scores of requests", ("model",))
    anomalies = Family("modelward_anomalies", "counter", "Requests that were flagged as anomalous", ("model",))
    unscored = Family("modelward_unscored", "counter", "Requests that could not be scored", ("model",))
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
            unscored.add((name,), model.unscored)
            late.add((name,), model.late_results)
            predicted.add((name,), model.predicted_seconds)
            taken.add((name,), model.taken_seconds)
            undecoded.add((name,), model.undecoded)
    yield from (refusals, stages, scores, anomalies, unscored, fallbacks, rows, late, predicted, taken, undecoded)


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
            for label, figure in by.items():
                family.add((*key, label), figure)
        disagreement.add(key, shadow.disagreement)
        disagreeing.add(key, shadow.disagreeing)
    yield from (pairs, disagreement, disagreeing, mismatches, dropped, seconds, lost, verdict)


def _upstreams(snapshot: Snapshot) -> Iterator[Family]:
    labels = ("endpoint",)
    requests = Family("modelward_upstream_requests", "counter", "Requests that were sent to the upstream", labels)
    failures = Family("modelward_upstream_failures", "counter", "Requests that the upstream failed", labels)
    ejections = Family("modelward_upstream_ejections", "counter", "Times that the circuit breaker opened", labels)
    seconds = Family("modelward_upstream_seconds", "histogram", "Time to the response of the upstream", labels)
    inflight = Family("modelward_upstream_inflight", "gauge", "Requests in flight to the upstream", labels)
    unanswered = "Messages of streams that the upstream has not answered and that hold a permit"
    messages = Family("modelward_upstream_messages", "gauge", unanswered, labels)
    connected = Family("modelward_upstream_connected", "gauge", "Connected endpoints", labels)
    in_order = "Connected endpoints in service. Only they get requests, unless the model is in panic"
    available = Family("modelward_upstream_available", "gauge", in_order, labels)
    panicking = (
        "Workers in which the model is in panic: fewer than half of its endpoints are in service, so all get requests"
    )
    panic = Family("modelward_upstream_panic", "gauge", panicking, ("model",))
    for model, count in snapshot.panics.items():
        panic.add((model,), count)
    breaker = Family(
        "modelward_upstream_breaker_state",
        "gauge",
        "Endpoints by the state of their circuit breaker: closed, open or half-open",
        ("endpoint", "state"),
    )
    silences = Family(
        "modelward_upstream_silences", "counter", "Times that the upstream fell silent while requests waited", labels
    )
    retries = Family("modelward_upstream_retries", "counter", "Requests that were retried on another endpoint", labels)
    hedges = Family(
        "modelward_upstream_hedges",
        "counter",
        "Requests that were hedged: sent to another endpoint as well, because this one was slow",
        labels,
    )
    changes = Family("modelward_upstream_changes", "counter", "Changes of models on upstreams, by kind", ("kind",))
    refreshes = Family(
        "modelward_upstream_refreshes",
        "counter",
        "Times that upstreams were asked for their models again, by result",
        ("result",),
    )
    for kind, count in snapshot.upstream_changes.items():
        changes.add((kind,), count)
    for result, count in snapshot.upstream_refreshes.items():
        refreshes.add((result,), count)
    unconnected = Family(
        "modelward_upstream_connect_failures", "counter", "Failed attempts to connect to the upstream", labels
    )
    for address, endpoint in snapshot.endpoints.items():
        unconnected.add((address,), endpoint.unconnected)
        requests.add((address,), endpoint.requests)
        failures.add((address,), endpoint.failures)
        ejections.add((address,), endpoint.ejections)
        seconds.add((address,), endpoint.seconds)
        inflight.add((address,), endpoint.inflight)
        messages.add((address,), endpoint.messages)
        connected.add((address,), endpoint.connected)
        available.add((address,), endpoint.available)
        for state, count in endpoint.breaker.items():
            breaker.add((address, state), count)
        silences.add((address,), endpoint.silences)
        retries.add((address,), endpoint.retries)
        hedges.add((address,), endpoint.hedges)
    yield from (requests, failures, ejections, seconds, inflight, messages, connected, available, panic, breaker)
    yield from (silences, retries, hedges, unconnected, changes, refreshes)


def _triton(snapshot: Snapshot) -> Iterator[Family]:
    labels = ("model", "version")
    # Unknown, because both exposition formats want counters to end in _total, and Triton's dashboards do not.
    counters = [(Family(name, "unknown", text, labels), value) for name, text, value in TRITON]
    pending = Family("nv_inference_pending_request_count", "gauge", "Requests in the queue", labels)
    for name, version, figures in _versions(snapshot):
        if figures.statistics is None:
            continue
        for family, value in counters:
            family.add((name, version), value(figures.statistics))
        pending.add((name, version), figures.pending)
    yield from (family for family, _ in counters)
    yield pending


def _can_execute(model: ModelSnapshot) -> bool:
    return any(figures.statistics is not None for figures in model.versions.values())


class ModelwardCollector(Collector):
    """For a registry of prometheus_client's. `take` is called once per scrape, on the thread that scrapes."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def describe(self) -> list[Metric]:
        """Empty: the registry would otherwise take a snapshot before the data plane exists, only to learn names."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from map(_metric, families(self._take()))


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.help, family.kind)
    for values, figure in family.rows:
        labels = dict(zip(family.labels, values, strict=True))
        if isinstance(figure, Histogram):
            for le, count in zip(le_labels(figure.bounds), figure.cumulative, strict=True):
                metric.add_sample(f"{family.name}_bucket", {**labels, "le": le}, count)
            metric.add_sample(f"{family.name}_count", labels, figure.cumulative[-1])
            metric.add_sample(f"{family.name}_sum", labels, figure.sum)
        else:
            metric.add_sample(f"{family.name}_total" if family.kind == "counter" else family.name, labels, figure)
    return metric
