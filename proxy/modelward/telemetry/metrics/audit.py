"""Metrics of the audit trail."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def audit_families(snapshot: Snapshot) -> Iterator[Family]:
    if (trail := snapshot.audit) is None:
        return
    up = "1 while the audit trail can be written. At 0 what operators ask for is refused"
    yield Family("modelward_audit_up", "gauge", up, rows=[((), trail.up)])
    written = "Records that were written to the audit trail since the start"
    yield Family("modelward_audit_records", "counter", written, rows=[((), trail.records)])
    lost = "Automatic records that found no room in line. The trail tells their number"
    yield Family("modelward_audit_records_lost", "counter", lost, rows=[((), trail.lost)])
    failures = Family(
        "modelward_audit_failures",
        "counter",
        "Writes of the audit trail that failed, by what was to be written. Those of records are tried again",
        ("what",),
    )
    for what, count in trail.failures.items():
        failures.add((what,), count)
    yield failures
    yield Family("modelward_audit_waiting", "gauge", "Records that wait to be written", rows=[((), trail.waiting)])
    yield Family(
        "modelward_audit_checkpoint_age_seconds",
        "gauge",
        "Time since the audit trail was signed last",
        rows=[((), trail.checkpoint_age)],
    )
    yield Family("modelward_audit_size", "gauge", "Records in the audit trail", rows=[((), trail.size)])
    seen = Family(
        "modelward_audit_witnessed",
        "gauge",
        "Records of the audit trail that a witness has seen",
        ("witness",),
    )
    for witness, size in trail.witnessed.items():
        seen.add((witness,), size)
    yield seen
    failures = Family(
        "modelward_audit_witness_failures",
        "counter",
        "Checkpoints that a witness was not told of (failed), or that it refuses since the log was rewritten (refused)",
        ("witness", "why"),
    )
    for labels, count in trail.witness_failures.items():
        failures.add(labels, count)
    yield failures
