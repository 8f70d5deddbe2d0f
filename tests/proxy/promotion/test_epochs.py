"""Epochs: each has a next one, and of two near each other all servers see the same one as later."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.promotion.epochs import LARGEST, NEAR, after, ahead, following, is_epoch, latest

EPOCHS = st.integers(1, 3) | st.integers(LARGEST - 3, LARGEST) | st.integers(1, LARGEST)
ANY = EPOCHS | st.sampled_from([0, -1, LARGEST + 1, 1 << 53, 1 << 63])


@given(ANY)
def test_every_one_has_a_next_one_that_is_later(epoch: int) -> None:
    assert is_epoch(following(epoch))
    assert ahead(following(epoch), epoch)
    assert not ahead(epoch, following(epoch))


@given(EPOCHS, EPOCHS)
def test_of_two_exactly_one_is_later(one: int, other: int) -> None:
    assert (ahead(one, other) > 0) + (ahead(other, one) > 0) == (one != other)


@pytest.mark.parametrize("none", [0, -1, LARGEST + 1, 1 << 53])
def test_what_is_none_is_earlier_than_every_one(none: int) -> None:
    assert not is_epoch(none)
    assert ahead(1, none) == 1
    assert not ahead(none, 1)
    assert not ahead(none, 0)


@given(st.lists(st.integers(5, 1000)))
def test_the_latest_is_the_largest_as_long_as_nobody_goes_round(given_: list[int]) -> None:
    assert latest(*given_) == max(given_, default=0)


def test_after_the_last_comes_the_first() -> None:
    assert following(LARGEST) == 1
    assert latest(LARGEST - 1, 2, LARGEST) == 2
    assert ahead(2, LARGEST - 1) == 3


@pytest.mark.parametrize(
    ("seen", "epoch", "found"),
    [(0, 0, 1), (7, 0, 8), (7, 3, 8), (7, 9, 9), (7 + NEAR, 7, 7), (LARGEST, 5, 5), (LARGEST, LARGEST - 1, 1)],
)
def test_a_document_that_is_far_ahead_moves_no_epoch(seen: int, epoch: int, found: int) -> None:
    assert after(seen, epoch) == found
