"""What the configuration says of outputs, held against the model's signature."""

import pytest

from modelward.config.outputs import Output
from modelward.models.declared_outputs import DeclaredOutputs, declared_outputs
from modelward.problem import ProblemsFound
from modelward.tensors import TensorSpec


def spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, datatype, shape, (None,) * len(shape))


OUTPUTS = (spec("label", "INT64", -1), spec("scores", "FP32", -1, 3), spec("image", "FP32", -1, 3, 8, 8))


def test_the_output_with_the_class_scores_is_found_by_its_name() -> None:
    assert declared_outputs({}, (), OUTPUTS, "") == DeclaredOutputs(None, False)
    assert declared_outputs({"scores": Output(classes=True)}, (), OUTPUTS, "") == DeclaredOutputs(1, False)
    assert declared_outputs({"scores": Output(classes="logits")}, (), OUTPUTS, "") == DeclaredOutputs(1, True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"score": Output(classes=True)}, "no such output"),
        ({"label": Output(classes=True)}, "cannot hold class scores"),
        ({"image": Output(classes=True)}, "cannot hold class scores"),
    ],
)
def test_what_does_not_fit_the_signature_is_a_problem(settings: dict[str, Output], said: str) -> None:
    with pytest.raises(ProblemsFound, match=said) as found:
        declared_outputs(settings, (), OUTPUTS, "model m version 1")
    (problem,) = found.value.problems
    assert problem.where == f"model m version 1, outputs.{next(iter(settings))}"
    assert problem.how


def test_one_output_alone_holds_the_class_scores() -> None:
    two = (spec("a", "FP32", -1, 2), spec("b", "FP64", -1))
    with pytest.raises(ProblemsFound, match="two outputs hold class scores"):
        declared_outputs({"a": Output(classes=True), "b": Output(classes=True)}, (), two, "")


@pytest.mark.parametrize(
    ("inputs", "name", "said"),
    [
        ((spec("x", "FP32", -1, 2),), "scores", "names no other tensor"),
        ((spec("x", "FP32", -1, 2),), "image", "rises_with names an output"),
        ((spec("x", "FP32", -1, 2),), "x[2]", "a column that is not there"),
        ((spec("x", "FP32", -1, 2), spec("city", "BYTES", -1)), "x[1]", "the model has no rises_with"),
    ],
)
def test_a_score_rises_with_a_number_among_numbers(inputs: tuple[TensorSpec, ...], name: str, said: str) -> None:
    with pytest.raises(ProblemsFound, match=said):
        declared_outputs({"scores": Output(rises_with=(name,))}, inputs, OUTPUTS, "")


ROWS = (spec("x", "FP32", -1, 3),)
SCORES = (
    spec("label", "INT64", -1),
    spec("limit", "FP32", -1, 1),
    spec("two", "FP32", -1, 2),
    spec("flag", "BOOL", -1),
)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("limit", {"mean": {"column": 1}}, "mean has no column 1"),
        ("limit", {"not_above": "x"}, "not_above does not say which column"),
        ("limit", {"not_above": "label[1]"}, "a column that is not there"),
        ("two", {"not_below": "x"}, "not_below does not say which column"),
        ("limit", {"rises_with": "x"}, "rises_with does not say which column"),
        ("two", {"classes": True, "budget": {"label": 2, "at_most": 1}}, "no answer has the label 2"),
        ("limit", {"classes": True, "budget": {"label": 2, "at_most": 1}}, "no answer has the label 2"),
        ("flag", {"budget": {"label": 2, "at_most": 1}}, "no answer has the label 2"),
    ],
)
def test_a_guard_that_could_not_work_is_a_problem(name: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ProblemsFound, match=said) as found:
        declared_outputs({name: Output.model_validate(settings)}, ROWS, SCORES, "")
    (problem,) = found.value.problems
    assert problem.how


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("limit", {"mean": {"column": 0}, "not_above": ["x[2]", "label"], "rises_with": "x[0]"}),
        ("two", {"classes": True, "budget": {"label": 1, "at_most": 1}, "not_below": "limit"}),
        ("limit", {"classes": True, "budget": {"label": 1, "at_most": 1}}),
        ("label", {"budget": {"label": -7, "at_most": 1}}),
        ("flag", {"budget": {"label": 1, "at_most": 1}}),
    ],
)
def test_a_guard_that_fits_the_rows_is_none(name: str, settings: dict[str, object]) -> None:
    assert declared_outputs({name: Output.model_validate(settings)}, ROWS, SCORES, "").guards
