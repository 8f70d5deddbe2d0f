"""What a connection owes for frames and resets, on a clock of the test's own."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.fuzz.frames import CONTINUATION, DATA, HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE, frame
from modelward_native.testing.flood import FRAME_BURST, FRAME_NS, RESET_BURST, RESET_FAULT, FloodBudget

NOW = 10**12
SECOND = 10**9
EMPTY = [
    frame(SETTINGS, 0), frame(PING, 0, bytes(8)), frame(DATA, 1), frame(CONTINUATION, 1), frame(0xBE, 0),
    frame(WINDOW_UPDATE, 0, bytes(4)), frame(DATA, 1, b"x"),
]  # fmt: skip


def greeted() -> FloodBudget:
    budget = FloodBudget(NOW)
    assert not budget.read(PREFACE, NOW)
    return budget


@pytest.mark.parametrize("one", EMPTY, ids=lambda one: f"type {one[3]}, {len(one) - 9} bytes")
def test_frames_that_carry_nothing_add_up_to_a_flood(one: bytes) -> None:
    budget = greeted()
    assert not budget.read(one * FRAME_BURST, NOW)
    assert budget.read(one * 100, NOW)


def test_frames_are_forgotten_in_time() -> None:
    budget = greeted()
    for second in range(100):
        assert not budget.read(frame(PING, 0, bytes(8)) * (SECOND // FRAME_NS), NOW + second * SECOND)


@pytest.mark.parametrize("size", [256, 1000, 16_384])
def test_data_pays_for_its_own_frames(size: int) -> None:
    budget = greeted()
    assert not budget.read(frame(DATA, 1, bytes(size)) * 2 * FRAME_BURST, NOW)


def test_what_is_saved_up_is_bounded() -> None:
    budget = greeted()
    for _ in range(100):
        budget.read(frame(DATA, 1, bytes(16_384)) * 16, NOW)
        budget.sent(10**6)
    assert budget.read(frame(PING, 0, bytes(8)) * (2 * FRAME_BURST + 1), NOW)


def test_header_blocks_cost_by_their_size() -> None:
    budget = greeted()
    budget.read(frame(HEADERS, 1, bytes(16_000), 4), NOW)
    assert budget.frames(NOW) == pytest.approx(16_000 / 64, abs=2)
    budget.request(16_000)
    assert budget.frames(NOW) < 0


def test_honest_requests_owe_nothing() -> None:
    """HEADERS, DATA, an empty DATA that ends; an answer, its windows and a PING: as grpc-core does it, at any rate."""
    budget = greeted()
    for i in range(10_000):
        request = frame(HEADERS, 1, bytes(60), 4) + frame(DATA, 1, bytes(60)) + frame(DATA, 1, flags=1)
        answered = frame(WINDOW_UPDATE, 0, bytes(4)) * 2 + frame(PING, 0, bytes(8))
        assert not budget.read(request + answered, NOW + i)
        budget.request(60)
        budget.message()
        budget.message()
        budget.sent(70)
    assert budget.frames(NOW) <= 0


def test_a_window_opened_byte_by_byte_is_a_flood() -> None:
    budget = greeted()
    for _ in range(2 * FRAME_BURST + 100):
        flooded = budget.read(frame(WINDOW_UPDATE, 1, struct.pack(">I", 1)), NOW)
        budget.sent(1)
        if flooded:
            return
    pytest.fail("never a flood")


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*EMPTY, frame(HEADERS, 1, bytes(300)), frame(DATA, 1, bytes(700))]), max_size=30),
    st.data(),
)
def test_how_the_bytes_are_cut_makes_no_difference(frames: list[bytes], data: st.DataObject) -> None:
    whole, cut = FloodBudget(NOW), FloodBudget(NOW)
    stream = PREFACE + b"".join(frames)
    whole.read(stream, NOW)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        cut.read(stream[:size], NOW)
        stream = stream[size:]
    assert cut.frames(NOW) == whole.frames(NOW)


@given(st.binary(max_size=2000))
def test_any_bytes_may_come(junk: bytes) -> None:
    whole, by_byte = FloodBudget(NOW), FloodBudget(NOW)
    whole.read(junk, NOW)
    for byte in junk:
        by_byte.read(bytes([byte]), NOW)
    assert by_byte.frames(NOW) == whole.frames(NOW)


def test_resets_add_up_and_are_forgotten() -> None:
    budget = FloodBudget(NOW)
    assert not any(budget.reset(1, NOW) for _ in range(RESET_BURST))
    assert budget.reset(1, NOW)
    later = NOW + 40 * SECOND
    assert not any(budget.reset(RESET_FAULT, later) for _ in range(RESET_BURST // RESET_FAULT))
    assert budget.reset(RESET_FAULT, later)
