"""Steps of identities on their way to the supervisor, and answers that are held back: bounded, whoever asks."""

from __future__ import annotations

import os

from modelward_native.detect.steps import read
from modelward_native.region.region import Region
from modelward_native.testing.steps import HELD, HELD_OF_ONE, RING, Held, Steps


def test_events_are_read_once_in_their_order_from_all_processes() -> None:
    region = Region.shared(2)
    for slot in (0, 1):
        region.open(slot)
    writers = [Steps(Region.joined(os.dup(region.fd), slot)) for slot in (0, 1)]
    so_far: dict[int, int] = {}
    assert read(region, so_far) == ([], 0)
    writers[0].write(7, "key", "team-a", "fraud", "tag", "round", "near", (1.0, 19.0, 2.0), 5, 3.5)
    writers[1].write(8, "address", "10.0.0.1", "fraud", "round", "observe", "budget", (0.0, 0.0, 3.5), 6)
    events, lost = read(region, so_far)
    assert lost == 0
    assert events == [
        (7, "key", "team-a", "fraud", "tag", "round", "near", {"unlike": 1.0, "near": 19.0, "walk": 2.0}, 3.5, 5, ""),
        (
            8,
            "address",
            "10.0.0.1",
            "fraud",
            "round",
            "observe",
            "budget",
            {"unlike": 0.0, "near": 0.0, "walk": 3.5},
            0.0,
            6,
            "",
        ),
    ]
    assert read(region, so_far) == ([], 0)


def test_of_more_than_the_ring_holds_the_latest_are_read_and_the_others_counted() -> None:
    region = Region()
    writer = Steps(region)
    so_far: dict[int, int] = {}
    for number in range(RING + 10):
        writer.write(number, "key", "n" * 200, "m" * 200, "observe", "tag", "unlike", (10.0, 0.0, 0.0), number)
    events, lost = read(region, so_far)
    assert (len(events), lost) == (RING, 10)
    assert [event[0] for event in events] == [*range(10, RING + 10)]
    assert (len(events[0][2]), len(events[0][3])) == (128, 128)


def test_held_answers_are_bounded_for_each_identity_and_in_all() -> None:
    held = Held()
    mine = [held.take(5) for _ in range(HELD_OF_ONE + 3)]
    assert mine.count(None) == 3
    others = [held.take(1000 + i) for i in range(HELD)]
    assert others.count(None) == HELD_OF_ONE
    assert held.take(7) is None
    assert mine[0] is not None
    held.give_back(mine[0])
    assert held.take(5) is not None
