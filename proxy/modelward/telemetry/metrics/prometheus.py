"""The metrics for a registry of prometheus_client."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from modelward.telemetry.le_labels import le_labels
from modelward.telemetry.metrics.family import Family
from modelward.telemetry.metrics.table import families
from modelward.telemetry.snapshot import Histogram, Snapshot


class ModelwardCollector(Collector):
    """For a registry of prometheus_client's. `take` is called once per scrape, on the thread that scrapes."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def describe(self) -> list[Metric]:
        """Empty: the registry would otherwise take a snapshot before the data plane exists, only to learn names."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from map(_metric, families(self._take()))


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.help, family.kind)
    for values, value in family.rows:
        labels = dict(zip(family.labels, values, strict=True))
        if isinstance(value, Histogram):
            for le, count in zip(le_labels(value.bounds), value.cumulative, strict=True):
                metric.add_sample(f"{family.name}_bucket", {**labels, "le": le}, count)
            metric.add_sample(f"{family.name}_count", labels, value.cumulative[-1])
            metric.add_sample(f"{family.name}_sum", labels, value.sum)
        else:
            metric.add_sample(f"{family.name}_total" if family.kind == "counter" else family.name, labels, value)
    return metric
