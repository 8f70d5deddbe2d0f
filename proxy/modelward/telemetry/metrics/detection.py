"""Metrics of detection over time; a model's steps stand among its own."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def detection_families(snapshot: Snapshot) -> Iterator[Family]:
    if (seen := snapshot.detection) is None:
        return
    what = "Identities whose rows were seen, by the step that evidence, budget or operators bring; counted every 10 s"
    identities = Family("modelward_detection_identities", "gauge", what, ("step",))
    for step, count in seen.identities.items():
        identities.add((step,), count)
    yield identities
    what = "Identities that operators hold at a step"
    yield Family("modelward_detection_restrictions", "gauge", what, rows=[((), seen.restrictions)])
    phases = Family(
        "modelward_detection_phase",
        "gauge",
        "1 for the phase in which a model learns what is usual",
        ("model", "phase"),
    )
    rows = Family("modelward_detection_learning_rows", "gauge", "Rows of this phase so far", ("model",))
    needed = Family("modelward_detection_learning_rows_needed", "gauge", "Rows with which this phase ends", ("model",))
    locked = Family("modelward_detection_locked_cells", "gauge", "Cells of the profile that are locked", ("model",))
    what = "Established identities whose rows became unlike the training data at once, while that is tolerated"
    failing = Family("modelward_detection_common_fault_identities", "gauge", what, ("model",))
    for model, (phase, so_far, of, cells, with_fault) in seen.learning.items():
        phases.add((model, phase), 1)
        rows.add((model,), so_far)
        needed.add((model,), of)
        locked.add((model,), cells)
        failing.add((model,), with_fault)
    yield from (phases, rows, needed, locked, failing)
    what = "Records of identities that were given to others, for want of room"
    yield Family("modelward_detection_evicted", "counter", what, rows=[((), seen.evicted)])
    what = "Steps of identities that are counted and were not told in log and trail"
    yield Family("modelward_detection_events_lost", "counter", what, rows=[((), seen.lost)])
