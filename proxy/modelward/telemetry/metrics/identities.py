"""Metrics of identities: of those alone that the configuration names."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot

LABELS = ("identity",)


def identity_families(snapshot: Snapshot) -> Iterator[Family]:
    if not snapshot.identities:
        return
    what = "Requests of an identity that passed its limits, estimated from one in 64"
    requests = Family("modelward_identity_requests", "counter", what, LABELS)
    what = "Backend time that requests of an identity were charged, estimated from one in 64"
    seconds = Family("modelward_identity_backend_seconds", "counter", what, LABELS)
    what = "Requests of an identity that a limit refused, by the limit: peer, identity, model or total"
    refused = Family("modelward_identity_refusals", "counter", what, ("identity", "limit"))
    what = "Calls of an identity that were denied, for want of a right"
    denied = Family("modelward_identity_denied", "counter", what, LABELS)
    what = "Requests of an identity that were flagged as anomalous"
    anomalous = Family("modelward_identity_anomalies", "counter", what, LABELS)
    for name, each in snapshot.identities.items():
        requests.add((name,), each.requests)
        seconds.add((name,), each.seconds)
        for limit, count in each.refused.items():
            if limit != "peer":  # of an address, whoever is behind it
                refused.add((name, limit), count)
        denied.add((name,), each.denied)
        anomalous.add((name,), each.anomalous)
    yield from (requests, seconds, refused, denied, anomalous)
