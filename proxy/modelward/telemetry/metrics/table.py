"""Every metric Modelward exposes, in the order of /metrics. Names and labels stand in the modules that this one lists.

`families` turns a snapshot into named rows. Two readers share it: `ModelwardCollector`, for a program that has a
prometheus_client registry, and `modelward.telemetry.exposition`, which writes /metrics at a twelfth of the cost.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.family import Family
from modelward.telemetry.metrics.identities import identity_families
from modelward.telemetry.metrics.models import model_families, triton_families
from modelward.telemetry.metrics.objectives import objective_families
from modelward.telemetry.metrics.server import server_families
from modelward.telemetry.metrics.upstreams import upstream_families
from modelward.telemetry.snapshot import Snapshot


def families(snapshot: Snapshot) -> Iterator[Family]:
    yield from server_families(snapshot)
    yield from model_families(snapshot)
    yield from objective_families(snapshot)
    yield from identity_families(snapshot)
    yield from upstream_families(snapshot)
    yield from triton_families(snapshot)
