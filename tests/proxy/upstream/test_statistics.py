"""Figures of several upstreams, added up."""

from __future__ import annotations

from typing import Any

from modelward.rpc.protocol import message_class
from modelward.upstream.statistics import added

Answer = message_class("inference.ModelStatisticsResponse")


def answer(*, count: int, batches: dict[int, int], last: int = 0, version: str = "1") -> Any:
    told: Any = Answer()
    figures = told.model_stats.add(name="m", version=version, last_inference=last)
    figures.inference_count, figures.execution_count = 2 * count, count
    figures.inference_stats.success.count, figures.inference_stats.success.ns = count, 10 * count
    for size, times in batches.items():
        figures.batch_stats.add(batch_size=size).compute_infer.count = times
    figures.memory_usage.add(type="CPU", byte_size=count)
    figures.response_stats["0"].success.count = count
    return told


def test_what_two_servers_have_counted_of_a_version_is_added_up() -> None:
    told = added([answer(count=3, batches={1: 2, 8: 1}, last=7), answer(count=4, batches={8: 2, 4: 2}, last=5)])
    (m,) = told["m"]
    assert (m.inference_count, m.execution_count, m.last_inference) == (14, 7, 7)
    assert (m.inference_stats.success.count, m.inference_stats.success.ns) == (7, 70)
    assert {batch.batch_size: batch.compute_infer.count for batch in m.batch_stats} == {1: 2, 8: 3, 4: 2}
    assert [usage.byte_size for usage in m.memory_usage] == [3, 4]
    assert m.response_stats["0"].success.count == 7


def test_versions_are_told_apart() -> None:
    told = added([answer(count=3, batches={}), answer(count=4, batches={}, version="2")])
    assert [(m.version, m.execution_count) for m in told["m"]] == [("1", 3), ("2", 4)]
