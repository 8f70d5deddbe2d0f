"""Metrics of detection over time; a model's steps stand among its own."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def detection_families(snapshot: Snapshot) -> Iterator[Family]:
    if (seen := snapshot.detection) is None:
        return
    what = "Identities that are remembered, by the step that their evidence is worth; counted every 10 s"
    identities = Family("modelward_detection_identities", "gauge", what, ("step",))
    for step, count in seen.identities.items():
        identities.add((step,), count)
    yield identities
    what = "Identities that operators hold at a step"
    yield Family("modelward_detection_restrictions", "gauge", what, rows=[((), seen.restrictions)])
    what = "Records of identities that were given to others, for want of room"
    yield Family("modelward_detection_evicted", "counter", what, rows=[((), seen.evicted)])
    what = "Steps of identities that are counted and were not told in log and trail"
    yield Family("modelward_detection_events_lost", "counter", what, rows=[((), seen.lost)])
