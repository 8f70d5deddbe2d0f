"""Class scores of answers: labels, margins, rounding and the top class, in place."""

from __future__ import annotations

from random import Random
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_native.testing.outputs import ClassScores
from tests.e2e.messages import DATATYPE, RESPONSE
from tests.oracle.wire import Writer, delimited

Array = npt.NDArray[Any]

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
DIGITS = {"FP16": 3, "BF16": 2, "FP32": 6, "FP64": 15}
MOST_NS = 2_000.0  # 30 times what it takes, for a busy machine


def raw_answer(**outputs: Array) -> bytes:
    message = RESPONSE(model_name="m", model_version="1", id="7")
    for name, values in outputs.items():
        message.outputs.add(name=name, datatype=DATATYPE[values.dtype], shape=values.shape)
        message.raw_output_contents.append(values.tobytes())
    return message.SerializeToString()


def typed_answer(values: Array) -> bytes:
    message = RESPONSE(model_name="m")
    output = message.outputs.add(name="p", datatype=DATATYPE[values.dtype], shape=values.shape)
    field = "fp32_contents" if values.dtype == np.float32 else "fp64_contents"
    getattr(output.contents, field).extend(values.ravel().tolist())
    return message.SerializeToString()


def scores_of(message: bytes, like: Array) -> Array:
    """Output p of an answer that has nothing before it, as the client reads it."""
    parsed = RESPONSE.FromString(message)
    contents = parsed.outputs[0].contents
    if parsed.raw_output_contents:
        return np.frombuffer(parsed.raw_output_contents[0], like.dtype).reshape(like.shape)
    return np.array(list(contents.fp32_contents) or list(contents.fp64_contents), like.dtype).reshape(like.shape)


def found(message: bytes, datatype: str = "FP32", **how: bool) -> ClassScores:
    scores = ClassScores(message, "p", datatype, **how)
    assert scores.state == "found"
    return scores


def labels(values: Array, **how: bool) -> list[tuple[int, float]]:
    return found(raw_answer(p=values), DATATYPE[values.dtype], **how).labels()


def rounded(values: Array, digits: int, **how: bool) -> Array:
    scores = found(raw_answer(p=values), DATATYPE[values.dtype], **how)
    return scores_of(scores.round(digits), values)


def softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


# ---- found ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_label_of_a_row_is_its_largest_score_and_the_margin_what_it_leads_by(dtype: type[Any]) -> None:
    values = np.array([[0.25, 0.5, 0.25], [0.75, 0.25, 0.0], [0.5, 0.5, 0.0]], dtype)
    assert labels(values) == [(1, 0.25), (0, 0.5), (0, 0.0)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_score_a_row_is_that_of_class_1(dtype: type[Any]) -> None:
    values = np.array([0.75, 0.5, 0.0], dtype)
    expected = [(1, 0.5), (0, 0.0), (0, 1.0)]
    assert labels(values) == expected
    assert labels(values.reshape(3, 1)) == expected


def test_one_dimension_is_rows_with_a_batch_axis_and_classes_without() -> None:
    values = np.array([0.25, 0.75], np.float32)
    assert labels(values, batch=True) == [(0, 0.5), (1, 0.5)]
    assert labels(values, batch=False) == [(1, 0.5)]


def test_the_margin_of_logits_is_that_of_their_softmax() -> None:
    logits = np.array([[1.0, 3.0, -2.0], [300.0, -300.0, 0.0], [5.0, 5.0, 5.0]])
    best = np.sort(softmax(logits), axis=1)
    expected = (best[:, -1] - best[:, -2]).tolist()
    assert [margin for _, margin in labels(logits, logits=True)] == pytest.approx(expected)
    assert [label for label, _ in labels(logits, logits=True)] == [1, 0, 0]
    margin = pytest.approx(2 / (1 + np.exp(-2.0)) - 1)
    assert labels(np.array([0.0, 2.0, -2.0]), logits=True) == [(0, 0.0), (1, margin), (0, margin)]


def test_a_row_with_nan_has_no_label() -> None:
    values = np.array([[np.nan, 1.0], [0.25, np.nan], [0.25, 0.75]], np.float32)
    assert labels(values) == [(-1, 0.0), (-1, 0.0), (1, 0.5)]
    assert labels(np.array([np.nan], np.float32)) == [(-1, 0.0)]


def test_scores_are_found_among_other_outputs_in_any_order() -> None:
    values, label = np.array([[0.25, 0.75]], np.float32), np.array([1], np.int64)
    for outputs in ({"label": label, "p": values}, {"p": values, "label": label, "q": values + 1}):
        assert found(raw_answer(**outputs)).labels() == [(1, 0.5)]
    message = raw_answer(label=label, p=values)
    parsed = RESPONSE.FromString(message)
    raw = b"".join(delimited(6, each) for each in parsed.raw_output_contents)
    parsed.ClearField("raw_output_contents")
    assert found(raw + parsed.SerializeToString()).labels() == [(1, 0.5)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_typed_contents_are_read_and_changed_as_raw_ones(dtype: type[Any]) -> None:
    values = np.array([[0.123, 0.877], [0.6, 0.4]], dtype)
    typed, raw = (found(message, DATATYPE[np.dtype(dtype)]) for message in (typed_answer(values), raw_answer(p=values)))
    assert typed.labels() == raw.labels()
    assert (scores_of(typed.round(2), values) == scores_of(raw.round(2), values)).all()
    assert scores_of(typed.top(), values).tolist() == [[0, 1], [1, 0]]


def unreadable_answers() -> dict[str, bytes]:
    values = np.array([[0.25, 0.75]], np.float32)
    answer = RESPONSE.FromString(raw_answer(p=values))
    names = ["short", "long", "shape", "negative", "overflow", "datatype", "twice", "raws", "both", "shared", "rank"]
    altered = {name: RESPONSE.FromString(answer.SerializeToString()) for name in names}
    altered["short"].raw_output_contents[0] = b"\0" * 7
    altered["long"].raw_output_contents[0] = b"\0" * 12
    altered["shape"].outputs[0].shape[:] = [1, 3]
    altered["negative"].outputs[0].shape[:] = [-1, -2]
    altered["overflow"].outputs[0].shape[:] = [2**62, 2**62]
    altered["datatype"].outputs[0].datatype = "FP64"
    altered["twice"].outputs.append(answer.outputs[0])
    altered["twice"].raw_output_contents.append(b"\0" * 8)
    altered["raws"].raw_output_contents.append(b"\0" * 8)
    altered["both"].outputs[0].contents.fp32_contents.extend([0.5, 0.5])
    altered["shared"].outputs[0].parameters["shared_memory_region"].string_param = "r"
    altered["rank"].outputs[0].shape[:] = [1, 1, 2]
    messages = {name: message.SerializeToString() for name, message in altered.items()}
    return messages | {"cut": raw_answer(p=values)[:-1], "no bytes": b"\xff", "no classes": raw_answer(p=values[:, :0])}


@pytest.mark.parametrize("name", unreadable_answers())
def test_scores_that_are_not_as_declared_are_unreadable(name: str) -> None:
    assert ClassScores(unreadable_answers()[name], "p", "FP32").state == "unreadable"


def test_scores_that_an_answer_does_not_have_are_absent() -> None:
    assert ClassScores(raw_answer(q=np.zeros((1, 2), np.float32)), "p", "FP32").state == "absent"
    assert ClassScores(b"", "p", "FP32").state == "absent"


def test_typed_elements_that_are_not_one_packed_field_are_unreadable() -> None:
    header = b"".join([delimited(1, b"p"), delimited(2, b"FP32"), b"\x18\x01\x18\x02"])
    one = np.float32(0.5).tobytes()
    for contents in (b"\x35" + one + b"\x35" + one, delimited(6, one) + delimited(6, one)):
        message = delimited(5, header + delimited(5, contents))
        assert list(RESPONSE.FromString(message).outputs[0].contents.fp32_contents) == [0.5, 0.5]
        assert ClassScores(message, "p", "FP32").state == "unreadable"


def test_the_last_of_two_names_counts_as_it_does_for_a_client() -> None:
    values = np.array([[0.25, 0.75]], np.float32)
    tensor = RESPONSE.FromString(raw_answer(p=values)).outputs[0].SerializeToString()
    raw = delimited(6, values.tobytes())
    assert (
        ClassScores(delimited(5, delimited(1, b"p") + tensor + delimited(1, b"q")) + raw, "p", "FP32").state == "absent"
    )
    assert ClassScores(delimited(5, delimited(3, b"") + tensor) + raw, "p", "FP32").state == "found"


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_whatever_an_upstream_writes_is_found_in_its_bounds_or_not_at_all(random: Random, typed: bool) -> None:
    values = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    whole = typed_answer(values) if typed else raw_answer(q=values, p=values)
    scores = ClassScores(Writer(random, damage=True).broken(whole), "p", "FP32")
    if scores.state == "found":
        assert len(scores.labels()) <= len(whole)
        assert len(scores.round(2)) == len(scores.top())


# ---- rounded ----


@st.composite
def probabilities(draw: st.DrawFn) -> Array:
    dtype, columns = draw(st.sampled_from(DTYPES)), draw(st.integers(2, 40))
    sharpness = draw(st.sampled_from([0.01, 1.0, 30.0]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return softmax(random.normal(size=(draw(st.integers(1, 4)), columns)) * sharpness).astype(dtype)


@settings(max_examples=100, deadline=None)
@given(probabilities(), st.integers(0, 15))
def test_rounded_probabilities_keep_label_and_sum_and_change_by_at_most_two_units(values: Array, digits: int) -> None:
    after = rounded(values, digits)
    unit = 10.0 ** -min(digits, DIGITS[DATATYPE[values.dtype]])
    wide, before = after.astype(float), values.astype(float)
    assert (wide.argmax(axis=1) == before.argmax(axis=1)).all()
    precision = float(ml_dtypes.finfo(values.dtype).eps)
    assert wide.sum(axis=1) == pytest.approx(1, abs=precision * values.shape[1])
    assert np.abs(wide - before).max() <= 2 * unit + precision
    assert (wide >= 0).all()
    units = wide / unit
    assert units == pytest.approx(np.rint(units), abs=2 * precision / unit)


def test_rounded_probabilities_read_as_people_expect() -> None:
    assert rounded(np.array([[0.637, 0.363]]), 2).tolist() == [[0.64, 0.36]]
    assert rounded(np.array([[0.1, 0.2, 0.7]]), 1).tolist() == [[0.1, 0.2, 0.7]]
    assert rounded(np.array([[0.2000001, 0.2000002, 0.1999999, 0.2, 0.1999998]]), 1).tolist() == [
        [0.1, 0.3, 0.2, 0.2, 0.2]
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.integers(0, 6), st.sampled_from(DTYPES))
def test_one_probability_is_rounded_and_stays_on_its_side(values: list[float], digits: int, dtype: type[Any]) -> None:
    before = np.array(values, dtype)
    after = rounded(before, digits)
    assert ((after.astype(float) > 0.5) == (before.astype(float) > 0.5)).all()
    unit = 10.0 ** -min(digits, DIGITS[DATATYPE[before.dtype]])
    assert np.abs(after.astype(float) - before.astype(float)).max() <= unit + float(ml_dtypes.finfo(dtype).eps)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4), st.integers(0, 6), st.sampled_from(DTYPES))
def test_rounded_logits_keep_their_label(values: list[float], digits: int, dtype: type[Any]) -> None:
    before = np.array([values], dtype)
    after = rounded(before, digits, logits=True)
    assert after.astype(float).argmax() == before.astype(float).argmax()
    single = rounded(before.reshape(4), digits, logits=True)
    assert ((single.astype(float) > 0) == (before.reshape(4).astype(float) > 0)).all()


def test_scores_that_do_not_add_up_to_1_are_rounded_each_for_itself() -> None:
    assert rounded(np.array([[0.91, 0.84, 0.12]]), 1).tolist() == [[0.9, 0.8, 0.1]]
    assert rounded(np.array([[0.81, 0.84, 0.12]]), 1).tolist() == [[0.8, 0.9, 0.1]]  # the label stays the second


def test_rows_that_are_no_numbers_stay_as_they_are() -> None:
    values = np.array([[np.nan, 0.123], [np.inf, 0.123], [0.123, 0.877]])
    assert rounded(values, 1)[:2].tobytes() == values[:2].tobytes()
    assert rounded(values, 1)[2].tolist() == [0.1, 0.9]


# ---- the top class ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_top_class_is_all_that_is_told(dtype: type[Any]) -> None:
    def top(values: Array, **how: bool) -> list[Any]:
        scores = found(raw_answer(p=values), DATATYPE[values.dtype], **how)
        told: list[Any] = scores_of(scores.top(), values).astype(float).tolist()
        return told

    assert top(np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]], dtype)) == [[0, 1, 0], [1, 0, 0]]
    assert top(np.array([0.2, 0.7, 0.5], dtype)) == [0, 1, 0]
    assert top(np.array([[-3.0, 2.0, 1.0]], dtype), logits=True) == [[-1, 1, -1]]
    assert top(np.array([-3.0, 2.0], dtype), logits=True) == [-1, 1]
    assert np.isnan(top(np.array([[np.nan, 1.0]], dtype))).all()


def test_one_row_is_made_to_say_a_label_and_the_others_stay() -> None:
    values = np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]], np.float32)
    scores = found(raw_answer(p=values))
    told = scores_of(scores.say(0, 2), values)
    assert told[0].tolist() == [0, 0, 1] and (told[1] == values[1]).all()
    one = np.array([0.2, 0.7], np.float32)
    assert scores_of(found(raw_answer(p=one)).say(0, 1), one).tolist() == pytest.approx([1, 0.7])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(width=16), min_size=1, max_size=8), st.sampled_from([np.float16, ml_dtypes.bfloat16]))
def test_short_numbers_are_written_as_numpy_rounds_them(values: list[float], dtype: type[Any]) -> None:
    before = np.array(values, dtype)
    scale = 10 ** DIGITS[DATATYPE[before.dtype]]
    wide = before.astype(float)
    small = np.isfinite(wide) & (np.abs(wide) * scale <= (1024 if dtype is np.float16 else 128))
    expected = (np.rint(wide[small] * scale) / scale).astype(np.float32).astype(dtype)
    kept = rounded(before, 15, logits=True)[small]
    near = expected.astype(float) > 0
    assert (kept.astype(float)[near] == expected.astype(float)[near]).all()


def test_it_takes_a_bounded_time() -> None:
    message = raw_answer(label=np.zeros(1, np.int64), p=np.full((1, 2), 0.5, np.float32))
    assert min(found(message).measure_find(200) for _ in range(50)) < MOST_NS


ANSWERS = {
    "raw": raw_answer(label=np.array([1]), p=np.array([[0.2, 0.8]], np.float32), other=np.array([3])),
    "in another order": raw_answer(p=np.array([[0.2, 0.8]], np.float32), label=np.array([1])),
    "without scores": raw_answer(label=np.array([1])),
    "typed": typed_answer(np.array([[0.2, 0.8]], np.float32)),
    "of another datatype": raw_answer(label=np.array([1]), p=np.array([[0.2, 0.8]])),
    "in three dimensions": raw_answer(p=np.array([[[0.2, 0.8]]], np.float32)),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_scores_that_are_found_in_one_walk_with_other_outputs_are_the_same(answer: bytes):
    alone, beside = (ClassScores(answer, "p", "FP32") for _ in range(2))
    assert beside.found_beside(["label", "other"])
    assert beside.state == alone.state
    if alone.state == "found":
        assert beside.labels() == alone.labels()
        assert beside.round(1) == alone.round(1)


def test_where_another_output_is_malformed_scores_are_looked_for_alone():
    bad = delimited(1, b"label") + delimited(5, b"\xff")
    answer = delimited(5, bad) + delimited(6, b"") + raw_answer(p=np.array([[0.2, 0.8]], np.float32))
    scores = ClassScores(answer, "p", "FP32")
    assert scores.state == "found" and not scores.found_beside(["label"])
