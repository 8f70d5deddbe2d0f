"""The ring of observations: what is written is read in order, and what a writer may do to it harms no reader."""

from __future__ import annotations

import os
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_native.observe import reader
from modelward_native.observe.reader import Reader
from modelward_native.region.region import Region
from modelward_native.testing.observe import Ring

SOURCE, REQUEST = 1, 2
SIZE = 4096
DTYPE = np.dtype(list(reader.REQUEST))


def source(number: int, text: bytes) -> bytes:
    body = struct.pack("<II", number, len(text)) + text
    body += bytes(-len(body) % 8)
    return struct.pack("<II", 8 + len(body), SOURCE) + body


def request(number: int, at: int, rows: int = 0, extra: bytes = b"", **fields: int) -> bytes:
    head = np.zeros(1, DTYPE)
    head["source"], head["at"], head["rows"], head["kind"] = number, at, rows, REQUEST
    for name, value in fields.items():
        head[name] = value
    head["size"] = DTYPE.itemsize + len(extra)
    return head.tobytes() + extra


def times(groups: list[reader.Group]) -> list[int]:
    return [int(at) for group in groups for at in np.frombuffer(group.requests, DTYPE)["at"]]


def test_the_structs_are_as_numpy_takes_them():
    assert DTYPE.itemsize == reader.REQUEST_BYTES
    assert np.dtype(list(reader.ROW)).itemsize == reader.ROW_BYTES


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=200))
def test_what_had_room_is_read_in_order_and_nothing_else(steps: list[tuple[int, bool]]):
    region = Region()
    ring, found = Ring(region, SIZE), Reader(region)
    assert ring.put(source(1, b"one"))
    kept: list[int] = []
    seen: list[int] = []
    for at, (padding, reads) in enumerate(steps):
        if ring.put(request(1, at, extra=bytes(8 * padding))):
            kept.append(at)
        if reads:
            seen += times(found.read(1 << 30))
    seen += times(found.read(1 << 30))
    assert seen == kept
    assert found.torn == 0
    assert ring.held == 0


def test_the_newest_is_dropped_and_counted_when_the_ring_is_full():
    region = Region()
    ring, found = Ring(region, SIZE), Reader(region)
    ring.put(source(1, b"one"))
    kept = [at for at in range(100) if ring.put(request(1, at))]
    assert kept == list(range(len(kept)))
    assert 0 < len(kept) < 100
    assert found.stats()[1] == 100 - len(kept)
    assert times(found.read(1 << 30)) == kept


def test_a_round_takes_no_more_than_it_is_told_and_the_rest_waits():
    region = Region()
    ring, found = Ring(region, SIZE), Reader(region)
    ring.put(source(1, b"one"))
    for at in range(10):
        ring.put(request(1, at))
    first = times(found.read(300))
    assert 0 < len(first) < 10
    assert first + times(found.read(1 << 30)) == list(range(10))


def test_requests_of_the_same_source_in_two_workers_are_one_group():
    region = Region.shared(2)
    rings = [Ring(Region.joined(os.dup(region.fd), slot), SIZE) for slot in (0, 1)]
    region.open(1)
    for number, ring in enumerate(rings, 1):
        ring.put(source(number, b"same"))
        ring.put(request(number, number))
    (group,) = Reader(region).read(1 << 30)
    assert group.description == b"same"
    assert sorted(times([group])) == [1, 2]


def test_records_that_are_not_what_they_say_are_counted_and_passed_over():
    region = Region()
    ring, found = Ring(region, SIZE), Reader(region)
    ring.put(request(7, 0))  # of a source that was never described
    ring.put(source(1, b"one"))
    ring.put(request(1, 1, rows=3))  # longer than the record
    ring.put(request(1, 2, id_size=4_000_000_000))
    ring.put(request(1, 3, rows=300))
    ring.put(request(1, 4, answer_size=8))
    ring.put(struct.pack("<IIII", 16, SOURCE, 9, 1000))
    ring.put(struct.pack("<II", 8, REQUEST))
    ring.put(request(1, 5))
    assert times(found.read(1 << 30)) == [5]
    assert found.torn == 7


def test_a_writer_that_claims_more_than_the_ring_holds_loses_what_is_in_it():
    region = Region()
    ring, found = Ring(region, SIZE), Reader(region)
    ring.put(source(1, b"one"))
    ring.overtake(1 << 40)
    assert found.read(1 << 30) == []
    assert ring.held == 0
    ring.put(source(1, b"one"))
    assert ring.put(request(1, 6))
    assert times(found.read(1 << 30)) == [6]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=8, max_size=200), min_size=1, max_size=20), st.integers(0, 5000))
def test_whatever_bytes_lie_in_a_ring_the_reader_comes_to_its_end(records: list[bytes], by: int):
    region = Region()
    ring, found = Ring(region, SIZE), Reader(region)
    ring.put(source(1, b"one"))
    for record in records:
        ring.put(record + bytes(-len(record) % 8))
    ring.overtake(8 * by)
    found.read(1 << 30)
    assert ring.held == 0


def test_a_categorys_hash_depends_on_each_element_and_on_where_one_ends():
    hashes = {reader.category_hash(*each) for each in ((b"ab",), (b"a", b"b"), (b"", b"ab"), (b"ba",), (b"",))}
    assert len(hashes) == 5
