"""Metrics of proposals and approvals."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def approvals_families(snapshot: Snapshot) -> Iterator[Family]:
    if (approvals := snapshot.approvals) is None:
        return
    yield Family("modelward_proposals_open", "gauge", "Proposals that wait for approvals", rows=[((), approvals.open)])
    unreviewed = "What was done with --break-glass and no approver has reviewed. Alert on every value above 0"
    yield Family("modelward_break_glass_unreviewed", "gauge", unreviewed, rows=[((), approvals.unreviewed)])
    failures = "Writes of the file of proposals that failed"
    yield Family("modelward_proposals_write_failures", "counter", failures, rows=[((), approvals.failures)])
