"""Budgets of answers: what may be given out within a window that slides."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_native.testing.guards import Budget

SECOND = 10**9
WINDOW = 60 * SECOND
START = 10**15


def test_no_more_is_given_out_than_the_budget_and_the_rest_when_the_window_has_passed() -> None:
    budget = Budget(WINDOW, at_most=100)
    assert budget.take(60, START)
    assert not budget.take(41, START)
    assert budget.take(40, START)
    assert not budget.take(1, START + WINDOW)
    assert budget.take(100, START + WINDOW + 2 * SECOND)


def test_answers_that_count_nothing_pass_a_budget_that_is_used_up() -> None:
    budget = Budget(WINDOW, at_most=1)
    assert budget.take(1, START)
    assert budget.take(0, START)


def test_what_is_not_given_out_after_all_is_given_back() -> None:
    budget = Budget(WINDOW, at_most=10)
    assert budget.take(10, START)
    budget.give_back(4, START)
    assert budget.take(4, START)
    assert not budget.take(1, START)


def test_what_is_only_observed_goes_on_counting() -> None:
    budget = Budget(WINDOW, at_most=10)
    assert [budget.take(6, START, refuse=False) for _ in range(3)] == [True, False, False]
    assert not budget.take(1, START)


def test_a_share_is_of_a_hundred_rows_at_least() -> None:
    budget = Budget(WINDOW, share=0.2)
    assert budget.take(20, START, rows=20)
    assert not budget.take(1, START, rows=1)
    assert budget.take(0, START, rows=180)
    assert budget.take(20, START, rows=20)


def test_a_budget_holds_after_a_pause_of_any_length() -> None:
    for pause in (64 * SECOND, 3600 * SECOND, 2**24 * SECOND, 10**9 * SECOND):
        budget = Budget(WINDOW, at_most=5)
        assert budget.take(5, START)
        assert budget.take(5, START + pause + 62 * SECOND * (pause == 2**24 * SECOND))
        assert not budget.take(1, START + pause + 62 * SECOND * (pause == 2**24 * SECOND))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([SECOND, 7 * SECOND, WINDOW]))
def test_in_no_window_is_there_more_than_the_budget_and_little_less_is_given_out(seed: int, window: int) -> None:
    random = Random(seed)
    budget, at_most, now = Budget(window, at_most=50), 50, START
    given_out: deque[tuple[int, int]] = deque()
    wanted, took = 0, 0
    for _ in range(2000):
        now += random.randrange(window // 30)
        amount = random.choice([0, 1, 1, 2, 9])
        wanted += amount
        if budget.take(amount, now):
            given_out.append((now, amount))
            took += amount
        while given_out and given_out[0][0] <= now - window:
            given_out.popleft()
        assert sum(each for _, each in given_out) <= at_most
    assert took >= 0.85 * min(wanted, at_most * (now - START) / window)


@pytest.mark.parametrize("amount", [2**30, 2**39, 2**63])
def test_amounts_of_any_size_are_over_it_and_change_nothing(amount: int) -> None:
    budget = Budget(WINDOW, at_most=100)
    assert not budget.take(amount, START)
    assert budget.take(100, START)
    for _ in range(3000):
        budget.take(amount, START, refuse=False)
    assert not budget.take(1, START)
