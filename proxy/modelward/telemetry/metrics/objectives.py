"""Metrics that alerting rules compare others with: what each model is to keep."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.le_labels import le_labels
from modelward.telemetry.metrics.family import Family
from modelward.telemetry.objectives import ObjectiveSnapshot
from modelward.telemetry.snapshot import OTHER_MODEL, Snapshot

UNSAID = ObjectiveSnapshot()


def objective_families(snapshot: Snapshot) -> Iterator[Family]:
    """A model that the configuration says nothing of has the objective of one without settings."""
    ratio = Family(
        "modelward_objective_ratio",
        "gauge",
        "Share (0 to 1) of the requests that are to be answered (success), and of the answers that are to be in time",
        ("model", "objective"),
    )
    latency = Family(
        "modelward_objective_latency_seconds",
        "gauge",
        "Time within which answers are in time; bound is the le of that bucket of modelward_request_seconds",
        ("model", "bound"),
    )
    for name in snapshot.models:
        if name == OTHER_MODEL:
            continue
        objective = snapshot.objectives.get(name, UNSAID)
        ratio.add((name, "success"), objective.success)
        if objective.latency is not None:
            ratio.add((name, "in_time"), objective.in_time)
            latency.add((name, le_labels((objective.latency,))[0]), objective.latency)
    yield from (ratio, latency)
