"""What is told of a process: as prometheus_client's collectors tell it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from modelward.telemetry.exposition import Exposition
from modelward.telemetry.snapshot import Snapshot

MOVES = {"process_cpu_seconds", "process_resident_memory_bytes", "process_virtual_memory_bytes"}


def test_the_process_is_told_as_the_library_tells_it() -> None:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    theirs = {family.name: family for family in parse(generate_latest(registry).decode())}
    ours = {family.name: family for family in parse(Exposition(Snapshot).text().decode())}
    assert set(theirs) <= set(ours)
    for name, family in theirs.items():
        mine = ours[name]
        assert (mine.type, mine.documentation) == (family.type, family.documentation)
        assert [(s.name, s.labels) for s in mine.samples] == [(s.name, s.labels) for s in family.samples]
        if name not in MOVES and "gc" not in name:
            assert [s.value for s in mine.samples] == [s.value for s in family.samples], name
        elif name in MOVES:
            assert mine.samples[0].value >= 0.5 * family.samples[0].value > 0
