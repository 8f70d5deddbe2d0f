"""How large a model's next answer will be, told from those before it."""

from hypothesis import given
from hypothesis import strategies as st

from modelward_native.testing.answers import Answers

KiB = 1024
UNKNOWN = 256 * KiB
MOST = 2**31

sizes = st.integers(0, 2**40)
rows = st.integers(-1, 2**40)


def test_a_model_that_has_not_answered_counts_as_a_large_one() -> None:
    assert Answers().predict() == Answers().predict(1000) == UNKNOWN


def test_an_answer_is_as_large_as_the_last_one_in_proportion_to_the_rows() -> None:
    answers = Answers()
    answers.learn(40 * KiB, rows=10)
    assert [answers.predict(n) for n in (1, 10, 25)] == [4 * KiB, 40 * KiB, 100 * KiB]


def test_a_request_without_rows_counts_as_one_row() -> None:
    answers = Answers()
    answers.learn(100, rows=0)
    assert [answers.predict(n) for n in (-1, 0, 1)] == [100, 100, 100]


def test_one_large_answer_is_believed_at_once_and_forgotten_within_two_hundred() -> None:
    answers = Answers()
    answers.learn(100)
    answers.learn(1000 * KiB)
    assert answers.predict() == 1000 * KiB
    for _ in range(16):
        answers.learn(100)
    assert 300 * KiB < answers.predict() < 400 * KiB
    for _ in range(184):
        answers.learn(100)
    assert answers.predict() == 100


def test_a_model_that_alternates_counts_as_its_larger_answers() -> None:
    answers = Answers()
    for _ in range(100):
        answers.learn(100)
        answers.learn(64 * KiB)
    answers.learn(100)
    assert answers.predict() > 60 * KiB


@given(st.lists(st.tuples(sizes, rows), max_size=30), rows)
def test_a_prediction_is_between_one_byte_and_the_largest_message(seen: list[tuple[int, int]], asked: int) -> None:
    answers = Answers()
    for size, n in seen:
        answers.learn(size, n)
        assert answers.predict(n) >= min(size, MOST)
    assert 1 <= answers.predict(asked) <= MOST
