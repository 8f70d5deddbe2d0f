"""What of a batch is watched: columns that no request changes, and which cells say nothing."""

from dataclasses import replace

import numpy as np
import pytest

from modelward.drift.table import Kind, inputs_of, outputs_of, silent
from modelward.observe.source import Source, Tensor
from modelward_native.observe.reader import CUT_ANSWER, CUT_INPUTS
from tests.e2e.messages import RESPONSE
from tests.proxy.capture.made import batch_of

OUTPUTS = (Tensor("y", "FP32", (-1, 2)), Tensor("label", "INT64", (-1,)))
SOURCE = Source("m", "1", "abcd", 1.0, (Tensor("x", "FP32", (-1, 3)),), OUTPUTS, True)
DYNAMIC = replace(SOURCE, inputs=(Tensor("x", "FP32", (-1, -1)),), outputs=(Tensor("y", "FP32", (-1, -1)),))
NAMES = ("y[0]", "y[1]", "label")
ALL = np.ones(3, np.bool_)


def answer(rows=1, **outputs):
    made = RESPONSE()
    for name, value in outputs.items():
        array = np.full((rows, *np.shape(value)), value, np.int64 if name == "label" else np.float32)
        made.outputs.add(name=name, datatype="INT64" if name == "label" else "FP32", shape=array.shape)
        made.raw_output_contents.append(array.tobytes())
    return bytes(made.SerializeToString())


def batch(*answers, source=SOURCE, **fields):
    rows = [{"x": np.arange(3, dtype=np.float32)[None]} for _ in answers]
    return replace(batch_of(rows, source, **fields), raw_answers=answers)


def names(table):
    return tuple(each.name for each in table.columns)


def test_an_output_that_was_not_asked_for_says_nothing_and_one_that_was_is_missing():
    found = outputs_of(batch(answer(y=[1, 2], label=1), answer(label=0), answer(label=0), unasked=[0, 1, 0]), ALL)
    assert names(found) == NAMES
    assert np.isnan(found.values).tolist() == [[False] * 3, [True, True, False], [True, True, False]]
    assert silent(found.values).tolist() == [[False] * 3, [True, True, False], [False] * 3]


def test_columns_stay_where_no_request_of_a_batch_has_an_output():
    assert names(outputs_of(batch(answer(label=0), unasked=1), ALL[:1])) == NAMES


def test_a_row_whose_answer_was_cut_says_nothing_at_all():
    found = outputs_of(batch(answer(y=[1, 2], label=1), b"", cut=[0, CUT_ANSWER]), ALL[:2])
    assert found.values.tolist() == [[1, 2, 1]]


def test_an_answer_that_cannot_be_read_is_missing():
    found = outputs_of(batch(answer(y=[1, 2], label=1), b"\xff\xff"), ALL[:2])
    assert np.isnan(found.values[1]).all() and not silent(found.values).any()


def test_a_model_cannot_make_its_answers_silent():
    odd = np.array([0x7FF8_0000_0000_051E], np.uint64).view(np.float64)
    source = replace(SOURCE, outputs=(Tensor("y", "FP64", (-1, 1)),))
    made = RESPONSE()
    made.outputs.add(name="y", datatype="FP64", shape=[1, 1])
    made.raw_output_contents.append(odd.tobytes())
    found = outputs_of(replace(batch(b"", source=source), raw_answers=(bytes(made.SerializeToString()),)), ALL[:1])
    assert len(found) == 1 and np.isnan(found.values[0, 0]) and not silent(found.values).any()


def test_of_outputs_from_the_64th_on_only_all_together_are_told():
    many = replace(SOURCE, outputs=tuple(Tensor(f"o{i}", "FP32", (-1, 1)) for i in range(70)))
    asked = batch(answer(), source=many, unasked=[(1 << 63) | 2]).outputs_asked[0]
    assert np.flatnonzero(~asked).tolist() == [1, *range(63, 70)]


def test_rows_without_a_fixed_width_are_watched_by_words_whatever_their_width():
    found = outputs_of(batch(answer(y=[1, 2, 6]), answer(y=[5]), source=DYNAMIC), ALL[:2])
    assert names(found) == tuple(f"{word} of y" for word in ("elements", "lowest", "mean", "highest", "first", "last"))
    assert found.values.tolist() == [[3, 1, 3, 6, 1, 6], [1, 5, 5, 5, 5, 5]]
    assert names(inputs_of(batch(answer(), source=DYNAMIC), ALL[:1]))[0] == "elements of x"


def test_class_scores_are_watched_by_label_and_highest_score_of_any_width():
    for source in (SOURCE, DYNAMIC):
        found = outputs_of(batch(answer(y=[1, 2], label=1), source=replace(source, classes=("y",))), ALL[:1])
        told = dict(zip(names(found), found.values[0].tolist(), strict=True))
        assert (told["label of y"], told["highest of y"]) == (1, 2)
        assert found.columns[0].kind is Kind.CATEGORY and len(set(names(found))) == len(names(found))


def test_inputs_that_were_too_large_to_be_kept_say_nothing():
    made = batch(answer(), answer(), cut=[0, CUT_INPUTS])
    found = inputs_of(replace(made, raw_inputs=(made.raw_inputs[0], b"")), ALL[:2])
    assert found.values.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("size", [2, 5])
def test_an_answer_of_another_width_than_declared_is_missing(size):
    found = outputs_of(batch(answer(y=[1] * size, label=1)), ALL[:1])
    assert np.isnan(found.values[0]).tolist() == [size != 2, size != 2, False]
