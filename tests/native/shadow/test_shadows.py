"""Stats of shadows in common memory: added up, by caller, for as long as somebody serves the shadow."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest

from modelward_native.region.region import Region
from modelward_native.shadow import shadows
from modelward_native.shadow.shadows import MOST_IDENTITIES, Block
from modelward_native.shadow.stats import WINDOW, Stats
from modelward_native.testing import scan

KEY = ("m", "1", "2")

# another process with a slot of its own: counts three pairs, then serves on (0) or ends properly (1)
PROCESS = """
import os, sys
from modelward_native.region.region import Region
from modelward_native.shadow.shadows import Block
from tests.native.shadow.test_shadows import failed
block = Block(Region.joined(int(sys.argv[1]), 1), "m", "1", "2")
block.add(failed(3), identity="ann")
if sys.argv[2] == "1":
    block.leave()
"""


def scored(*scores: tuple[float, float]) -> Stats:
    """One pair for each (primary, shadow); they agree where both are the same."""
    figures = Stats()
    for pair in scores:
        figures.record(*(scan.reply("m", "1", outputs=[("y", "FP64", [1], struct.pack("<d", side))]) for side in pair))
    return figures


def failed(pairs: int) -> Stats:
    """`pairs` pairs that only the shadow failed."""
    figures = Stats()
    for _ in range(pairs):
        figures.fail(False, True)
    return figures


def workers(count: int = 2) -> tuple[Region, list[Region]]:
    region = Region.shared(count)
    for slot in range(count):
        region.open(slot)
    return region, [Region.joined(os.dup(region.fd), slot) for slot in range(count)]


def failures(figures: Stats) -> int:
    return figures.sums()["shadow_failed"]


def test_sides_and_callers_of_all_workers_are_added_up() -> None:
    region, (one, other) = workers()
    first, second = Block(one, *KEY), Block(other, *KEY)
    first.add(failed(1), identity="ann")
    first.add(failed(2), anomalous=True, identity="bob")
    second.add(failed(4), identity="ann")
    second.add(failed(16), identity="ann", kind="token")
    second.add(failed(8))
    second.warm(5)
    (slices,) = shadows.shadows(region).values()
    assert [failures(part) for part in (slices.normal, slices.anomalous, slices.total)] == [29, 2, 31]
    told = {caller: failures(part) for caller, part in slices.identities.items()}
    assert told == {("key", "ann"): 5, ("key", "bob"): 2, ("token", "ann"): 16}
    assert failures(slices.others) == 8
    assert slices.warmed == 5
    assert {key: total.sums() for key, total in shadows.totals(region).items()} == {KEY: slices.total.sums()}


def test_scores_of_all_workers_are_told_the_oldest_of_each_first() -> None:
    region, (one, other) = workers()
    Block(one, *KEY).add(scored((1.0, 1.0), (2.0, 3.0)))
    Block(other, *KEY).add(scored((4.0, 4.0)))
    assert shadows.shadows(region)[KEY].scores == [(1.0, 1.0), (2.0, 3.0), (4.0, 4.0)]
    Block(other, *KEY).add(scored(*[(float(i), float(i)) for i in range(WINDOW + 1)]))
    last = shadows.shadows(region)[KEY].scores[2:]
    assert last == [(float(i), float(i)) for i in range(1, WINDOW + 1)]


def test_callers_beyond_those_with_a_slice_share_one() -> None:
    region = Region()
    block = Block(region, *KEY)
    for i in range(MOST_IDENTITIES + 3):
        block.add(failed(1), identity=f"caller-{i}")
    block.add(failed(1), identity="caller-0")
    slices = shadows.shadows(region)[KEY]
    assert list(slices.identities) == [("key", f"caller-{i}") for i in range(MOST_IDENTITIES)]
    assert failures(slices.identities["key", "caller-0"]) == 2
    assert failures(slices.others) == 3


def test_of_all_workers_callers_those_with_most_pairs_are_told_by_name() -> None:
    region, (one, other) = workers()
    first, second = Block(one, *KEY), Block(other, *KEY)
    for i in range(MOST_IDENTITIES):
        first.add(failed(1 + i), identity=f"a{i}")
        second.add(failed(100 + i), identity=f"b{i}")
    slices = shadows.shadows(region)[KEY]
    assert set(slices.identities) == {("key", f"b{i}") for i in range(MOST_IDENTITIES)}
    assert failures(slices.others) == sum(1 + i for i in range(MOST_IDENTITIES))


def test_a_name_is_found_exactly_whether_it_begins_like_another_or_is_the_longest() -> None:
    region = Region()
    block = Block(region, *KEY)
    longest = "é" * 256  # 512 bytes
    for i, name in enumerate(("team-a", "team", "team-ab", longest, longest + "x", "")):
        block.add(failed(10**i), identity=name)
    slices = shadows.shadows(region)[KEY]
    told = {name: failures(part) for (_, name), part in slices.identities.items()}
    assert told == {"team-a": 1, "team": 10, "team-ab": 100, longest: 1000}
    assert failures(slices.others) == 110_000


def test_a_shadow_that_no_model_serves_is_not_reported_but_goes_on_when_it_comes_back() -> None:
    region = Region()
    block = Block(region, *KEY)
    block.add(failed(1))
    block.leave()
    assert shadows.shadows(region) == shadows.totals(region) == {}
    Block(region, *KEY).add(failed(1))
    assert failures(shadows.totals(region)[KEY]) == 2


def test_a_block_is_served_until_all_who_count_there_have_left() -> None:
    region = Region()
    first, second = Block(region, *KEY), Block(region, *KEY)
    first.leave()
    assert list(shadows.totals(region)) == [KEY]
    second.leave()
    assert shadows.totals(region) == {}


def test_another_fingerprint_is_another_shadow_and_the_newest_is_told() -> None:
    region = Region()
    before = Block(region, *KEY, "a")
    before.add(failed(1))
    after = Block(region, *KEY, "b")
    after.add(failed(10))
    assert failures(shadows.totals(region)[KEY]) == 10
    before.leave()
    again = Block(region, *KEY, "a")  # back to what it was, while the other one drains
    assert failures(shadows.shadows(region)[KEY].total) == 1
    after.leave()
    assert failures(shadows.totals(region)[KEY]) == 1
    again.leave()


def test_only_the_shadows_of_a_model_are_told_where_it_is_named() -> None:
    region = Region()
    blocks = [Block(region, model, "1", shadow) for model in ("m", "n") for shadow in ("2", "dns:///a:1")]
    assert len(blocks) == 4
    assert set(shadows.shadows(region, "m")) == {("m", "1", "2"), ("m", "1", "dns:///a:1")}
    assert shadows.shadows(region, "x") == {}


def test_blocks_of_shadows_that_have_gone_are_used_again_the_oldest_first() -> None:
    region = Region()
    for i in range(16):
        block = Block(region, "m", "1", str(i))
        block.add(failed(1 + i), identity="ann")
        block.leave()
    assert len(region.names()) == 16
    new = Block(region, "m", "1", "new")
    assert len(region.names()) == 16
    assert failures(shadows.totals(region)["m", "1", "new"]) == 0
    assert shadows.shadows(region)["m", "1", "new"].identities == {}
    new.add(failed(3))
    second = Block(region, "m", "1", "1")  # all but the oldest are still there
    assert failures(shadows.totals(region)["m", "1", "1"]) == 2
    second.leave()
    new.leave()


def test_any_number_of_shadows_come_and_go_in_the_memory_of_a_few() -> None:
    region = Region()
    for i in range(500):
        Block(region, "m", "1", str(i)).leave()
    assert len(region.names()) == 16


def test_where_there_is_no_room_the_oldest_that_has_gone_gives_its_own_and_no_other_does() -> None:
    region = Region()
    Block(region, "m", "1", "gone").leave()
    served = []
    with pytest.raises(MemoryError):
        for i in range(10_000):
            served.append(Block(region, "m", "1", str(i)))
    assert ("m", "1", "gone") not in {tuple(name.decode().split("\0")[1:4]) for name in region.names()}
    assert len(shadows.totals(region)) == len(served) == len(region.names())


def test_names_that_are_too_long_together_have_no_room() -> None:
    with pytest.raises(MemoryError, match="too long"):
        Block(Region(), "m" * 500, "1", "s" * 500)


def test_who_only_reads_has_no_block() -> None:
    region, _ = workers()
    with pytest.raises(ValueError, match="worker"):
        Block(region, *KEY)


def process(region: Region, *, leaves: bool) -> None:
    command = [sys.executable, "-c", PROCESS, str(region.fd), str(int(leaves))]
    subprocess.run(command, pass_fds=[region.fd], check=True, timeout=60)


def test_what_a_dead_worker_served_it_serves_no_more_and_what_it_counted_stays() -> None:
    region, (one, _) = workers()
    process(region, leaves=False)
    assert failures(shadows.totals(region)[KEY]) == 3
    shadows.vacate(region, 1)
    assert shadows.totals(region) == {}
    block = Block(one, *KEY)
    block.add(failed(4), identity="ann")
    assert failures(shadows.shadows(region)[KEY].identities["key", "ann"]) == 7
    process(region, leaves=False)  # who has the slot next goes on there
    block.leave()
    assert failures(shadows.shadows(region)[KEY].total) == 10


def test_blocks_are_not_taken_from_a_process_that_still_counts_there() -> None:
    region, (one, _) = workers()
    process(region, leaves=False)
    for i in range(40):
        Block(one, "m", "1", f"other-{i}").leave()
    assert failures(shadows.totals(region)[KEY]) == 3
    process(region, leaves=True)
    assert failures(shadows.totals(region)[KEY]) == 6


def test_a_slot_that_there_is_not_cannot_be_vacated() -> None:
    with pytest.raises(ValueError, match="slot"):
        shadows.vacate(Region(), 1)
