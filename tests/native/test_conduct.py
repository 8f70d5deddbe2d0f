"""What a connection owes for frames and resets, on a clock of the test's own."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.fuzz.frames import CONTINUATION, DATA, HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE, frame
from modelward_native.wire.conduct import FRAME_BURST, FRAME_NS, RESET_BURST, RESET_FAULT, Conduct

NOW = 10**12
SECOND = 10**9
EMPTY = [
    frame(SETTINGS, 0), frame(PING, 0, bytes(8)), frame(DATA, 1), frame(CONTINUATION, 1), frame(0xBE, 0),
    frame(WINDOW_UPDATE, 0, bytes(4)), frame(DATA, 1, b"x"),
]  # fmt: skip


def greeted() -> Conduct:
    conduct = Conduct(NOW)
    assert not conduct.read(PREFACE, NOW)
    return conduct


@pytest.mark.parametrize("one", EMPTY, ids=lambda one: f"type {one[3]}, {len(one) - 9} bytes")
def test_frames_that_carry_nothing_add_up_to_a_flood(one: bytes) -> None:
    conduct = greeted()
    assert not conduct.read(one * FRAME_BURST, NOW)
    assert conduct.read(one * 100, NOW)


def test_frames_are_forgotten_in_time() -> None:
    conduct = greeted()
    for second in range(100):
        assert not conduct.read(frame(PING, 0, bytes(8)) * (SECOND // FRAME_NS), NOW + second * SECOND)


@pytest.mark.parametrize("size", [256, 1000, 16_384])
def test_data_pays_for_its_own_frames(size: int) -> None:
    conduct = greeted()
    assert not conduct.read(frame(DATA, 1, bytes(size)) * 2 * FRAME_BURST, NOW)


def test_what_is_saved_up_is_bounded() -> None:
    conduct = greeted()
    for _ in range(100):
        conduct.read(frame(DATA, 1, bytes(16_384)) * 16, NOW)
        conduct.sent(10**6)
    assert conduct.read(frame(PING, 0, bytes(8)) * (2 * FRAME_BURST + 1), NOW)


def test_header_blocks_cost_by_their_size() -> None:
    conduct = greeted()
    conduct.read(frame(HEADERS, 1, bytes(16_000), 4), NOW)
    assert conduct.frames(NOW) == pytest.approx(16_000 / 64, abs=2)
    conduct.request(16_000)
    assert conduct.frames(NOW) < 0


def test_honest_requests_owe_nothing() -> None:
    """HEADERS, DATA, an empty DATA that ends; an answer, its windows and a PING: as grpc-core does it, at any rate."""
    conduct = greeted()
    for i in range(10_000):
        request = frame(HEADERS, 1, bytes(60), 4) + frame(DATA, 1, bytes(60)) + frame(DATA, 1, flags=1)
        answered = frame(WINDOW_UPDATE, 0, bytes(4)) * 2 + frame(PING, 0, bytes(8))
        assert not conduct.read(request + answered, NOW + i)
        conduct.request(60)
        conduct.message()
        conduct.message()
        conduct.sent(70)
    assert conduct.frames(NOW) <= 0


def test_a_window_opened_byte_by_byte_is_a_flood() -> None:
    conduct = greeted()
    for _ in range(2 * FRAME_BURST + 100):
        flooded = conduct.read(frame(WINDOW_UPDATE, 1, struct.pack(">I", 1)), NOW)
        conduct.sent(1)
        if flooded:
            return
    pytest.fail("never a flood")


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*EMPTY, frame(HEADERS, 1, bytes(300)), frame(DATA, 1, bytes(700))]), max_size=30),
    st.data(),
)
def test_how_the_bytes_are_cut_makes_no_difference(frames: list[bytes], data: st.DataObject) -> None:
    whole, cut = Conduct(NOW), Conduct(NOW)
    stream = PREFACE + b"".join(frames)
    whole.read(stream, NOW)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        cut.read(stream[:size], NOW)
        stream = stream[size:]
    assert cut.frames(NOW) == whole.frames(NOW)


@given(st.binary(max_size=2000))
def test_any_bytes_may_come(junk: bytes) -> None:
    Conduct(NOW).read(junk, NOW)


def test_resets_add_up_and_are_forgotten() -> None:
    conduct = Conduct(NOW)
    assert not any(conduct.reset(1, NOW) for _ in range(RESET_BURST))
    assert conduct.reset(1, NOW)
    later = NOW + 40 * SECOND
    assert not any(conduct.reset(RESET_FAULT, later) for _ in range(RESET_BURST // RESET_FAULT))
    assert conduct.reset(RESET_FAULT, later)
