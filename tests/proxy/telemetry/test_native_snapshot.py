"""What the data plane has counted, as the collector reads it."""

from __future__ import annotations

from modelward.telemetry.native_snapshot import snapshot
from modelward_native.region.region import Region
from modelward_native.shadow.shadows import Block
from modelward_native.shadow.stats import DROPS, Stats
from tests.proxy.shadow.test_collect import label, labels


def test_shadows_are_copied_with_all_that_was_counted_of_them() -> None:
    region = Region()
    block = Block(region, "m", "1", "2")
    block.add(labels(5, 2))
    other = Stats()
    other.record(label(0), b"\x0a", 0.001, 3_000_000, 9_000_000)
    other.fail(False, True)
    block.add(other, anomalous=True)
    copied = snapshot(region).shadows["m", "1", "2"]
    assert copied.pairs == {"compared": 8, "primary_failed": 0, "shadow_failed": 1, "both_failed": 0}
    assert (copied.disagreement, copied.disagreeing) == (3.0, 3)
    assert {kind: count for kind, count in copied.mismatches.items() if count} == {"unreadable_answers": 1}
    assert copied.dropped == dict.fromkeys(DROPS, 0)
    assert copied.verdict == {}
    for side, milliseconds in (("primary", 3), ("shadow", 9)):
        seconds = copied.seconds[side]
        assert seconds.cumulative[-1] == 8
        assert seconds.sum == milliseconds / 1e3
        assert [seconds.cumulative[seconds.bounds.index(bound)] for bound in (0.001, 0.01)] == [7, 8]


def test_shadows_that_no_process_serves_are_not_copied() -> None:
    region = Region()
    Block(region, "m", "1", "2").leave()
    assert snapshot(region).shadows == {}
