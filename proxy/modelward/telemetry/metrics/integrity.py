"""Metrics of the files of versions: which they are, and whether they are those that were signed."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.snapshot import Snapshot


def integrity_families(snapshot: Snapshot) -> Iterator[Family]:
    if (integrity := snapshot.integrity) is None:
        return
    info = Family(
        "modelward_model_info",
        "gauge",
        "1 for each version that is served: the digest of its files, and who has signed them",
        ("model", "version", "digest", "signer"),
    )
    for (model, version), (digest, signer) in integrity.versions.items():
        info.add((model, version, digest, signer), 1)
    yield info
    unverified = "Versions that are served although no signature of them counts, where integrity.require is warn"
    yield Family("modelward_unverified_versions", "gauge", unverified, rows=[((), integrity.unverified)])
    changed = "Versions whose files on disk are others than those that are served"
    yield Family("modelward_changed_versions", "gauge", changed, rows=[((), integrity.changed)])
    checks = Family(
        "modelward_integrity_checks",
        "counter",
        "Comparisons of a version's files on disk with those that are served: same, changed or failed",
        ("result",),
    )
    for result, count in integrity.checks.items():
        checks.add((result,), count)
    yield checks
