import bisect
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_native.telemetry import histogram
from modelward_native.telemetry.histogram import BOUNDS, EDGES, Histogram

LOW, HIGH = 1_000, 100_000_000_000  # 1 us and 100 s in nanoseconds

values = st.one_of(
    st.integers(0, 2**64 - 1),
    st.floats(2, 12).map(lambda e: int(10**e)),
    st.tuples(st.sampled_from(EDGES[:-1]), st.integers(-1, 1)).map(sum),
)


@given(values)
def test_a_value_is_in_the_cell_whose_edges_enclose_it(value):
    assert histogram.cell(value) == bisect.bisect_left(EDGES, value)


def test_every_edge_closes_its_cell():
    for cell, edge in enumerate(EDGES[:-1]):
        assert (histogram.cell(edge), histogram.cell(edge + 1)) == (cell, cell + 1)


def test_no_cell_between_1_us_and_100_s_is_wider_than_an_eighth_of_its_lower_edge():
    assert (EDGES[0], EDGES[-2]) == (LOW, HIGH)
    assert max((high - low) / low for low, high in itertools.pairwise(EDGES[:-1])) <= 0.125


def test_a_histogram_takes_less_than_two_kibibytes():
    assert histogram.SIZE < 2048


@given(st.lists(values, max_size=60))
def test_prometheus_buckets_count_exactly_what_is_at_most_their_bound(recorded):
    h = Histogram()
    for value in recorded:
        h.record(value)
    assert h.fold(BOUNDS) == [sum(v <= bound for v in recorded) for bound in BOUNDS]
    assert h.count == len(recorded)
    assert h.sum == sum(recorded) % 2**64


@given(st.lists(st.floats(3, 11).map(lambda e: min(max(int(10**e), LOW + 1), HIGH)), min_size=1), st.floats(0, 1))
def test_a_quantile_is_at_most_an_eighth_above_the_exact_one(recorded, q):
    h = Histogram()
    for value in recorded:
        h.record(value)
    exact = sorted(recorded)[max(0, math.ceil(q * len(recorded)) - 1)]
    assert exact <= h.quantile(q) <= exact * 1.125


@pytest.mark.parametrize("bounds", [[1_000, 1_234], [2_000, 1_000], [1_000, 1_000], [999]])
def test_bounds_that_could_not_be_counted_exactly_are_refused(bounds):
    with pytest.raises(ValueError, match="not the edge of a cell"):
        Histogram().fold(bounds)


def test_more_bounds_than_cells_are_refused():
    with pytest.raises(ValueError, match="more bounds"):
        Histogram().fold(range(1000))


def test_a_negative_span_counts_as_zero():
    h = Histogram()
    h.record_ns(-5)
    assert (h.count, h.sum, h.fold([1_000])) == (1, 0, [1])


def test_a_quantile_above_all_cells_is_unknown_and_that_of_nothing_is_zero():
    h = Histogram()
    assert h.quantile(0.5) == 0
    h.record(HIGH + 1)
    assert h.quantile(0.5) is None


def test_scores_are_kept_in_millionths():
    h = Histogram()
    for score in (0.0, 0.5, 2.5, 1e5):
        h.record_score(score)
    assert h.sum == 100_003_000_000
    assert h.fold([1_000, 500_000, 2_500_000, HIGH]) == [1, 2, 3, 4]


@pytest.mark.parametrize("score", [math.inf, math.nan, 1e300, 1e6 + 1])
def test_scores_without_measure_count_above_every_bound_and_leave_the_sum_finite(score):
    h = Histogram()
    h.record_score(score)
    assert (h.count, h.fold(BOUNDS)[-1], h.sum) == (1, 0, 10**12)


@pytest.mark.parametrize("score", [-1.0, -math.inf])
def test_a_score_below_zero_counts_as_zero(score):
    h = Histogram()
    h.record_score(score)
    assert (h.sum, h.fold([1_000])) == (0, [1])
