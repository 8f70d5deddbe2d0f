"""Metrics of upstream endpoints."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def upstream_families(snapshot: Snapshot) -> Iterator[Family]:
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
    held = "Breakers that operators hold open or closed, by model and endpoint (`all`: those without one of their own)"
    overrides = Family("modelward_upstream_breaker_override", "gauge", held, ("model", "endpoint", "state"))
    for key, count in snapshot.breaker_overrides.items():
        overrides.add(key, count)
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
    failing = "Connected endpoints that fail the canary of a model. They get none of its requests"
    canaries = Family("modelward_upstream_canary_failing", "gauge", failing, labels)
    for address, endpoint in snapshot.endpoints.items():
        canaries.add((address,), endpoint.fails_canary)
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
    yield from (overrides, silences, retries, hedges, unconnected, canaries, changes, refreshes)
