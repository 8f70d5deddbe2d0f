"""Compressed messages inflated in pieces: the same as at once, and what zlib says."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.fuzz import inflate
from modelward_native.wire.compression import inflated

STEPS = st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 300)), min_size=1, max_size=4)
CONTENTS = st.one_of(st.binary(max_size=3000), st.binary(min_size=1, max_size=3).map(lambda some: some * 3000))


@given(CONTENTS, st.booleans(), STEPS)
def test_a_message_in_pieces_is_what_it_was(contents: bytes, is_gzip: bool, steps: list[tuple[int, int]]) -> None:
    message = gzip.compress(contents, mtime=0) if is_gzip else zlib.compress(contents)
    assert inflated(message, is_gzip, len(contents), steps) == contents
    if contents:
        assert inflated(message, is_gzip, len(contents) - 1, steps) != contents


@pytest.mark.parametrize("name", inflate.seeds())
def test_every_seed_is_the_same_in_pieces(name: str) -> None:
    inflate.play(inflate.seeds()[name])


@given(CONTENTS, st.booleans(), st.integers(0, 5), st.data())
def test_a_damaged_message_is_the_same_in_pieces(
    contents: bytes, is_gzip: bool, limit: int, data: st.DataObject
) -> None:
    message = bytearray(gzip.compress(contents, mtime=0) if is_gzip else zlib.compress(contents))
    message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    sizes = data.draw(st.binary(min_size=2 * inflate.STEPS, max_size=2 * inflate.STEPS))
    inflate.play(bytes([is_gzip, limit, data.draw(st.integers(0, 3))]) + sizes + bytes(message))
