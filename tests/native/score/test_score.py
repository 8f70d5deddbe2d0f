import ctypes
import mmap
import struct
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from modelward.score import calibration, geometry
from modelward.score.calibration import Calibration
from modelward.score.cells import Cells
from modelward.score.choice import PLAIN, TWO_VIEWS, WEIGHTS, Choice
from modelward_native.score import score as native_score
from tests.oracle import score as oracle

CURVE = Calibration(np.array([0.5, 1.0, 2.0, 4.0]), np.array([0.9, 0.5, 0.2, 0.05]), 3.0)
LIBC = ctypes.CDLL(None, use_errno=True)
KINDS = {
    "values": native_score.VALUES,
    "blocks": native_score.BLOCKS,
    "varying": native_score.VARYING,
    "categories": native_score.CATEGORIES,
    "words": native_score.WORDS,
}


def fitted(rows, features, seed=0, space=TWO_VIEWS, weighting="five"):
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((features, features))
    scale, shift = rng.uniform(0.1, 100, features), rng.uniform(-50, 50, features)
    table = rng.standard_normal((rows, features)) @ mixed * scale + shift
    return geometry.fit(table, Choice(space, weighting), rng), table


FITTED = fitted(100, 4)
KERNEL = oracle.kernel(FITTED[0], CURVE)


def assert_agrees(kernel, shape, curve, rows, unknown=None):
    found = kernel.measure(rows, unknown)
    expected = oracle.measure(shape, curve, rows, unknown)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(found[1], expected[1], rtol=5e-3, atol=1e-4)
    np.testing.assert_array_equal(found[2], expected[2])
    return found, expected


@pytest.mark.parametrize("features", [1, 2, 15, 16, 17, 30, 65, 100, 257])
@pytest.mark.parametrize("rows", [20, 64, 300])
@pytest.mark.parametrize("space", [PLAIN, TWO_VIEWS])
def test_scores_agree_with_the_slow_twin_at_every_width_and_padding(features, rows, space):
    shape, table = fitted(rows, features, space=space)
    near = table[:20] + np.random.default_rng(1).standard_normal((20, features))
    assert_agrees(oracle.kernel(shape, CURVE), shape, CURVE, np.concatenate([table[:5], near, 3 * near]))


@pytest.mark.parametrize("weighting", WEIGHTS)
def test_every_weighting_agrees_with_the_slow_twin_where_prototypes_stand_for_several_rows(weighting):
    rng = np.random.default_rng(2)
    table = rng.integers(0, 3, (2000, 4)).astype(float) * [1.0, 10.0, 0.1, 5.0]
    shape = geometry.fit(table, Choice(TWO_VIEWS, weighting), rng)
    assert shape.cells.counts.max() > 10
    assert_agrees(oracle.kernel(shape, CURVE), shape, CURVE, table[:20] + rng.standard_normal((20, 4)))


@pytest.mark.parametrize("seed", range(8))
def test_random_profiles_agree_with_the_slow_twin(seed):
    """1 to 128 cells of 1 to 32 prototypes, curves with flat ends and steep parts: not only what is ever fitted."""
    rng = np.random.default_rng(seed)
    f, n = int(rng.integers(1, 40)), int(rng.integers(1, 129))
    _, table = fitted(200, f, seed)
    table[:, : f // 2] = rng.standard_t(1.5, (200, f // 2))
    shape = geometry.fit(table, Choice(TWO_VIEWS, "ten"), rng)
    sizes = rng.integers(1, 33, n)
    prototypes = rng.standard_normal((sizes.sum(), 2 * f)).astype(np.float32)
    first = np.cumsum([0, *sizes])
    means = np.array([prototypes[a:b].mean(axis=0) for a, b in pairwise(first)])
    random = Cells(means, np.ones(n, np.float32), first, prototypes, rng.integers(1, 12, len(prototypes)))
    shape = replace(shape, cells=random, weights=rng.uniform(0.1, 1, rng.integers(1, 11)))
    assert_agrees(oracle.kernel(shape, CURVE), shape, CURVE, table[:40] * rng.uniform(0.5, 2, (40, f)))


@pytest.fixture(params=["plain", "avx2"])
def instructions(request):
    """Instructions that are not the best of this machine; the other tests use those."""
    try:
        native_score.use_instructions(request.param)
    except ValueError as reason:
        pytest.skip(str(reason))
    yield request.param
    native_score.use_instructions("best")


@pytest.mark.parametrize("features", [1, 7, 8, 9, 17, 30, 257])
def test_every_instruction_set_computes_the_same(instructions, features):
    shape, table = fitted(300, features)
    found, expected = assert_agrees(oracle.kernel(shape, CURVE), shape, CURVE, table[:50] * 1.5)
    for k in (3, 4):  # which of two equally near prototypes, or cells, is a matter of rounding
        assert np.mean(found[k] == expected[k]) > 0.9


def test_instructions_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="no 'mmx' instructions"):
        native_score.use_instructions("mmx")


specials = st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, 1e-40, -0.0, 1e30, 3.5e38])


@settings(deadline=None)
@given(st.lists(st.lists(st.one_of(st.floats(-1e3, 1e3), specials), min_size=4, max_size=4), min_size=1, max_size=8))
def test_any_row_of_doubles_has_the_outcome_of_the_slow_twin(rows):
    shape, _ = FITTED
    assert_agrees(KERNEL, shape, CURVE, np.array(rows))


def outcome(kernel, row, unknown=None):
    return tuple(each[0] for each in kernel.measure(np.atleast_2d(row), unknown))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_caught_before_the_distance(value):
    row = FITTED[1][0].copy()
    row[2] = value
    assert outcome(KERNEL, row) == (native_score.LIMIT, 0.0, native_score.NOT_A_NUMBER, -1, -1)
    columns, deviations = KERNEL.explain(row)
    assert columns[0] == 2
    assert deviations[0] == np.inf


@pytest.mark.parametrize("value", [1e7, -1e7, 1e308, -1e308])
def test_a_value_that_no_training_row_could_have_had_is_caught_and_explained(value):
    row = FITTED[1][0].copy()
    row[3] = value
    assert outcome(KERNEL, row) == (native_score.LIMIT, 0.0, native_score.OUT_OF_RANGE, -1, -1)
    columns, deviations = KERNEL.explain(row)
    assert columns[0] == 3
    assert np.sign(deviations[0]) == np.sign(value)


def test_all_reasons_of_one_row_are_told_together():
    kernel = oracle.kernel(FITTED[0], CURVE, [(KINDS["values"], 4, 0, 4), (KINDS["categories"], 1, 0, 1)], [[b"a"]])
    flags = outcome(kernel, [np.nan, 1e9, 0, 0], [[True]])[2]
    assert flags == native_score.NOT_A_NUMBER | native_score.OUT_OF_RANGE | native_score.UNKNOWN_CATEGORY
    assert kernel.explain([np.nan, 1e9, 0, 0], [True])[0].tolist() == [0, 4, 1]


def test_denormal_and_tiny_values_are_ordinary_numbers():
    row = np.array([5e-324, 1e-310, -1e-40, 0.0])
    assert outcome(KERNEL, row)[:2] == pytest.approx(outcome(KERNEL, np.zeros(4))[:2])


def test_a_row_of_the_training_data_itself_scores_zero_where_ten_rows_share_its_place():
    rows = np.repeat(np.arange(10.0)[:, None], 10, axis=0) @ np.ones((1, 2))
    for weighting in WEIGHTS:
        shape = geometry.fit(rows, Choice(PLAIN, weighting), np.random.default_rng(0))
        assert outcome(oracle.kernel(shape, CURVE), rows[0])[0] == pytest.approx(0.0, abs=1e-5)


def test_one_outlier_of_the_training_data_does_not_make_its_surroundings_normal_where_ten_rows_are_asked_for():
    rows = np.concatenate([np.random.default_rng(0).standard_normal((500, 2)), [[9.0, 9.0]]])
    shape = geometry.fit(rows, Choice(TWO_VIEWS, "ten"), np.random.default_rng(0))
    kernel = oracle.kernel(shape, CURVE)
    assert outcome(kernel, [9.0, 9.0])[0] > 2 * outcome(kernel, [3.0, 0.0])[0]


def test_the_nearest_cell_is_told_by_its_mean_and_holds_the_nearest_prototype_of_a_row_within_it():
    shape, table = fitted(2000, 6)
    nearest, cell = oracle.kernel(shape, CURVE).measure(table)[3:]
    assert set(cell.tolist()) <= set(range(len(shape.cells.means)))
    assert np.mean(nearest // native_score.MAX_PROTOTYPES == cell) > 0.8


def test_p_values_never_rise_with_the_score_and_never_reach_zero():
    p = KERNEL.p_values(np.concatenate([np.linspace(0, 10, 2000), np.geomspace(10, 1e9, 500)]))
    assert (np.diff(p) <= 0).all()
    assert p[0] == 1.0
    assert p[-1] > 0.0
    np.testing.assert_allclose(KERNEL.p_values(CURVE.knot_score), CURVE.knot_p)


def test_explanations_agree_with_the_slow_twin():
    shape, table = fitted(300, 12)
    kernel = oracle.kernel(shape, CURVE)
    for row in table[:20] + np.random.default_rng(2).standard_normal((20, 12)) * table.std(axis=0):
        nearest = outcome(kernel, row)[3]
        columns, deviations = oracle.explain(shape, oracle.standardise(shape, row[None])[0], nearest)
        found = kernel.explain(row)
        np.testing.assert_array_equal(found[0], columns)
        np.testing.assert_allclose(found[1], deviations, rtol=1e-5)


def test_a_row_of_fewer_than_three_columns_has_fewer_explanations():
    shape, _ = fitted(50, 2)
    columns, deviations = oracle.kernel(shape, CURVE).explain([0.0, 1.0])
    assert len(columns) == len(deviations) == 2


@pytest.mark.parametrize("datatype", [*oracle.NUMPY, "BF16"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_tensors_of_every_datatype_score_like_the_numbers_they_hold(datatype, data):
    size = 2 if datatype == "BF16" else np.dtype(oracle.NUMPY[datatype]).itemsize
    count = data.draw(st.integers(1, 10))
    raw = data.draw(st.binary(min_size=4 * size * count, max_size=4 * size * count))
    rows = oracle.numbers(datatype, raw).reshape(-1, 4)
    found = KERNEL.measure_tensors([(datatype, unaligned(raw), rows.size)], len(rows))
    for one, other in zip(found, KERNEL.measure(rows), strict=True):
        np.testing.assert_array_equal(one, other)


def unaligned(data):
    """The same bytes at an odd address."""
    buffer = np.zeros(len(data) + 64, np.uint8)
    start = 1 - buffer.ctypes.data % 2
    place = buffer[start : start + len(data)]
    place[:] = np.frombuffer(data, np.uint8)
    return place


def test_every_half_precision_number_is_read_exactly():
    every = np.arange(1 << 16, dtype="<u2")
    bound, at_zero = np.full(1, 1e9, np.float32), np.zeros((1, 1), np.float32)
    cells = Cells(at_zero, np.zeros(1, np.float32), np.array([0, 1]), at_zero, np.array([3]))
    shape = geometry.Geometry(np.zeros(1), np.ones(1), -bound, bound, None, cells, np.ones(1))
    kernel = oracle.kernel(shape, CURVE)
    for datatype in ("FP16", "BF16"):
        values = oracle.numbers(datatype, every.tobytes())
        score, _, flags, *_ = kernel.measure_tensors([(datatype, every.tobytes(), len(every))], len(every))
        usable = np.abs(values) <= 1e9
        # Squares of the smallest BF16 numbers are below what a float holds.
        np.testing.assert_allclose(score[usable], np.abs(values[usable]), rtol=1e-6, atol=1e-18)
        np.testing.assert_array_equal(flags == native_score.NOT_A_NUMBER, ~np.isfinite(values))


def reducing_kernel(kind, elements, width):
    rng = np.random.default_rng(3)
    shape = geometry.fit(rng.standard_normal((40, width)), Choice(PLAIN, "five"), rng)
    return oracle.kernel(shape, CURVE, [(KINDS[kind], elements, 0, width)])


@pytest.mark.parametrize("elements", [4097, 5000, 8191])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8", "INT64"])
def test_long_rows_are_reduced_to_mean_and_deviation_of_blocks(elements, datatype):
    kernel = reducing_kernel("blocks", elements, 128)
    raw = oracle.raw(datatype, np.random.default_rng(4).uniform(0, 3, 3 * elements))
    rows = np.array([oracle.reduced(r, 64, False) for r in oracle.numbers(datatype, raw).reshape(3, elements)])
    found = kernel.measure_tensors([(datatype, raw, 3 * elements)], 3)
    np.testing.assert_allclose(found[0], kernel.measure(rows)[0], rtol=1e-5)


@pytest.mark.parametrize("elements", [0, 1, 2, 15, 16, 17, 1000, 10_000])
def test_rows_of_varying_length_are_reduced_to_the_same_number_of_features(elements):
    kernel = reducing_kernel("varying", -1, 33)
    values = np.random.default_rng(5).standard_normal((2, elements)).astype(np.float32)
    rows = np.array([oracle.reduced(r.astype(np.float64), 16, True) for r in values])
    found = kernel.measure_tensors([("FP32", values.tobytes(), values.size)], 2)
    np.testing.assert_allclose(found[0], kernel.measure(rows)[0], rtol=1e-5)


def test_a_nan_anywhere_in_a_long_row_is_caught():
    kernel = reducing_kernel("blocks", 5000, 128)
    for place in (0, 63, 64, 2500, 4999):
        values = np.zeros(5000, np.float32)
        values[place] = np.nan
        assert kernel.measure_tensors([("FP32", values.tobytes(), 5000)], 1)[2][0] & native_score.NOT_A_NUMBER


WORDS = [[b"red", b"green", b""], [b"x" * 1000, b"\x00\xff"], None]
MIXED = oracle.kernel(FITTED[0], CURVE, [(KINDS["categories"], 3, 0, 3), (KINDS["values"], 4, 0, 4)], WORDS)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([b"red", b"", b"x" * 1000, b"\x00\xff", b"re", b"redd"])] * 3), min_size=1))
def test_unknown_categories_are_flagged_row_by_row_and_known_ones_cost_nothing(rows):
    numbers = np.zeros((len(rows), 4))
    tensors = [
        ("BYTES", oracle.raw("BYTES", [v for row in rows for v in row]), 3 * len(rows)),
        ("FP64", numbers.tobytes(), numbers.size),
    ]
    score, _, flags, *_ = MIXED.measure_tensors(tensors, len(rows))
    known = [all(w is None or v in w for v, w in zip(row, WORDS, strict=True)) for row in rows]
    np.testing.assert_array_equal(flags, np.where(known, 0, native_score.UNKNOWN_CATEGORY))
    np.testing.assert_array_equal(score[known], MIXED.measure(numbers)[0][known])


def test_words_of_a_row_of_any_length_share_one_column():
    kernel = oracle.kernel(FITTED[0], CURVE, [(KINDS["values"], 4, 0, 4), (KINDS["words"], -1, 0, 1)], [[b"a", b"b"]])
    for words, flagged in (([b"a", b"b", b"a"], False), ([b"a", b"c"], True), ([], False)):
        tensors = [("FP64", bytes(32), 4), ("BYTES", oracle.raw("BYTES", words), len(words))]
        assert bool(kernel.measure_tensors(tensors, 1)[2][0]) == flagged


def test_a_column_of_many_words_knows_each_of_them_and_nothing_else():
    words = [f"word-{i}".encode() for i in range(20_000)]
    kernel = oracle.kernel(FITTED[0], CURVE, [(KINDS["categories"], 1, 0, 1), (KINDS["values"], 4, 0, 4)], [words])
    asked = [*words[::100], *(f"worm-{i}".encode() for i in range(200))]
    tensors = [("BYTES", oracle.raw("BYTES", asked), 400), ("FP64", bytes(32 * 400), 1600)]
    flags = kernel.measure_tensors(tensors, 400)[2]
    assert not flags[:200].any()
    assert flags[200:].all()


def guarded(data):
    """The bytes right before memory that may not be read."""
    size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
    area = mmap.mmap(-1, size + mmap.PAGESIZE)
    address = np.frombuffer(area, np.uint8).ctypes.data
    assert LIBC.mprotect(ctypes.c_void_p(address + size), mmap.PAGESIZE, 0) == 0
    view = np.frombuffer(area, np.uint8, len(data), size - len(data))
    view[:] = np.frombuffer(data, np.uint8)
    return view


@pytest.mark.parametrize("datatype", [*oracle.NUMPY, "BF16"])
def test_nothing_is_read_past_the_end_of_a_tensor(datatype):
    raw = oracle.raw(datatype, np.arange(12) % 2)
    found = KERNEL.measure_tensors([(datatype, guarded(raw), 12)], 3)
    np.testing.assert_array_equal(found[0], KERNEL.measure(oracle.numbers(datatype, raw).reshape(3, 4))[0])
    for short in range(len(raw)):
        with pytest.raises(ValueError, match="not 3 rows"):
            KERNEL.measure_tensors([(datatype, guarded(raw)[short + 1 :], 12)], 3)


def test_a_truncated_bytes_tensor_has_no_score_and_is_not_read_past_its_end():
    inputs = [(KINDS["categories"], 2, 0, 2), (KINDS["values"], 4, 0, 4)]
    kernel = oracle.kernel(FITTED[0], CURVE, inputs, [[b"ab"], [b"cd"]])
    raw = oracle.raw("BYTES", [b"ab", b"cd"] * 2)
    kernel.measure_tensors([("BYTES", guarded(raw), 4), ("FP64", bytes(64), 8)], 2)
    for size in range(len(raw)):
        with pytest.raises(ValueError, match="leaves its tensor"):
            kernel.measure_tensors([("BYTES", guarded(raw[:size]), 4), ("FP64", bytes(64), 8)], 2)


def test_a_length_prefix_that_lies_has_no_score():
    kernel = oracle.kernel(FITTED[0], CURVE, [(KINDS["categories"], 1, 0, 1), (KINDS["values"], 4, 0, 4)], [[b"ab"]])
    for length in (3, 1 << 16, 0xFFFFFFFF):
        with pytest.raises(ValueError, match="leaves its tensor"):
            raw = guarded(struct.pack("<I", length) + b"ab")
            kernel.measure_tensors([("BYTES", raw, 1), ("FP64", bytes(32), 4)], 1)


@pytest.mark.parametrize(
    ("tensors", "rows"),
    [
        ([("FP32", bytes(16), 4)], 3),
        ([("FP32", bytes(16), 4)], 2),
        ([("FP32", bytes(20), 5)], 1),
        ([("FP32", bytes(16), 4)], 0),
        ([("FP32", bytes(16), -4)], 1),
        ([("FP32", bytes(16), 4)], -1),
        ([("FP64", bytes(16), 4)], 1),
        ([("FP32", bytes(16), 1 << 62)], 1 << 60),
        ([("BYTES", bytes(16), 4)], 1),
    ],
)
def test_tensors_that_are_not_rows_of_the_profile_have_no_score(tensors, rows):
    with pytest.raises(ValueError, match=r"not -?\d+ rows"):
        KERNEL.measure_tensors(tensors, rows)


def test_no_rows_are_an_empty_answer():
    assert [len(a) for a in KERNEL.measure_tensors([("FP32", b"", 0)], 0)] == [0, 0, 0, 0, 0]


def test_a_profile_whose_arrays_contradict_each_other_is_refused():
    shape, _ = FITTED
    with pytest.raises(ValueError, match="scale has shape"):
        oracle.kernel(replace(shape, scale=shape.scale[:3]), CURVE)
    with pytest.raises(ValueError, match="metric has shape"):
        oracle.kernel(replace(shape, views=replace(shape.views, metric=shape.views.metric[:3])), CURVE)
    with pytest.raises(ValueError, match="does not divide the prototypes"):
        oracle.kernel(replace(shape, cells=replace(shape.cells, first=shape.cells.first + 1)), CURVE)
    for weights in (np.ones(0), np.ones(11)):
        with pytest.raises(ValueError, match="1 to 10 rows"):
            oracle.kernel(replace(shape, weights=weights), CURVE)
    for inputs in ([(0, 3, 0, 3)], [(0, 4, 1, 4)], [(0, 4, 0, 5)], [(9, 4, 0, 4)], [(0, -1, 0, -1)], [(1, 9999, 0, 4)]):
        with pytest.raises(ValueError, match="hold"):
            oracle.kernel(shape, CURVE, inputs)


def test_threads_share_a_kernel():
    shape, table = fitted(500, 30)
    kernel = oracle.kernel(shape, CURVE)
    expected = kernel.measure(table)[0]
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(kernel.measure(table)[0], expected):
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_calibrated_p_values_are_the_conformal_ones_at_the_knots():
    scores = np.random.default_rng(6).gamma(3.0, size=200)
    curve = calibration.calibrate(scores)
    kernel = oracle.kernel(FITTED[0], curve)
    expected = [(1 + np.sum(scores >= s)) / 201 for s in curve.knot_score]
    np.testing.assert_allclose(kernel.p_values(curve.knot_score), expected)
