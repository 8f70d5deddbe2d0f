"""Metrics of observations and capture."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def capture_families(snapshot: Snapshot) -> Iterator[Family]:
    if (seen := snapshot.observations) is not None:
        what = "Requests that were chosen for capture or drift, and had room in a ring"
        yield Family("modelward_observations", "counter", what, rows=[((), seen.kept)])
        lost = Family(
            "modelward_observations_lost",
            "counter",
            "Requests that were chosen for capture or drift: without room, without tensors that were too large, not "
            "readable, and batches that failed in what looks at them",
            ("reason",),
        )
        for reason in ("dropped", "cut", "torn", "failures"):
            lost.add((reason,), getattr(seen, reason))
        yield lost
    if (captured := snapshot.capture) is None:
        return
    rows = Family("modelward_capture_rows", "counter", "Rows that were captured, by part", ("model", "part"))
    for of, count in captured.rows.items():
        rows.add(of, count)
    dropped = Family(
        "modelward_capture_dropped_rows", "counter", "Rows that were chosen and are not captured", ("model", "reason")
    )
    for of, count in captured.dropped.items():
        dropped.add(of, count)
    yield from (rows, dropped)
    for name, what, by_model in (
        ("files", "Files of captured rows that were written", captured.files),
        ("bytes", "Bytes of files of captured rows that were written", captured.bytes),
        ("removed_files", "Files of captured rows that retention has removed", captured.removed),
    ):
        family = Family(f"modelward_capture_{name}", "counter", what, ("model",))
        for model, count in by_model.items():
            family.add((model,), count)
        yield family
