"""Metrics of drift."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot

LABELS = ("model", "version", "side")


def drift_families(snapshot: Snapshot) -> Iterator[Family]:
    if not snapshot.drift:
        return
    moved = Family("modelward_drift", "gauge", "1 while a version's inputs or outputs are not what they were", LABELS)
    evidence = Family(
        "modelward_drift_evidence", "gauge", "Strongest evidence of a change, as a part of what raises an alarm", LABELS
    )
    rows = Family("modelward_drift_rows", "counter", "Rows that were judged for drift", LABELS)
    alarms = Family("modelward_drift_alarms", "counter", "Alarms that were raised for drift", LABELS)
    left = Family(
        "modelward_drift_left_out_rows",
        "counter",
        "Rows that were observed and not judged: beyond the rate, or beyond what one identity may have",
        ("model", "version"),
    )
    for key, each in snapshot.drift.items():
        for side in each.moved:
            moved.add((*key, side), int(each.moved[side]))
            evidence.add((*key, side), each.evidence[side])
            rows.add((*key, side), each.rows[side])
            alarms.add((*key, side), each.alarms[side])
        left.add(key, each.left_out)
    yield from (moved, evidence, rows, alarms, left)
