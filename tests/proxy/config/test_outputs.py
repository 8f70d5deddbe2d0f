"""What outputs must be, as configured: what fits together, and what is said where it does not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelward.config.load import load
from modelward.config.outputs import Output
from modelward.problem import ProblemsFound


def test_every_guard_that_is_set_is_on_and_observes_but_a_budget() -> None:
    settings = {"finite": True, "rises_with": "x[1]", "not_above": ["a", "b"], "budget": {"at_most": 5}}
    output = Output.model_validate(settings)
    assert output.guards == ("finite", "not_above", "rises_with", "budget")
    assert [output.action(guard) for guard in output.guards] == ["observe", "observe", "observe", "fallback"]
    assert output.limits == [("not_above", "a"), ("not_above", "b"), ("rises_with", "x[1]")]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget": {"label": 1}}, "the budget has no bound"),
        ({"budget": {"label": 1, "above": 2, "at_most": 3}}, "label and above are both set"),
        ({"budget": {"label": 1, "at_most": 3, "each": 4}}, "each is 4, more than at_most"),
        ({"budget": {"label": 1, "at_most": 3, "each": 1.5}}, "each is 1.5 rows"),
        ({"budget": {"share": 0.5}}, "share is of rows"),
        ({"range": [2, 1]}, "has nothing in it"),
        ({"finite": True, "on_violation": {"sum": "flag"}}, "names the guard sum, which is off"),
        ({"finite": True, "on_violation": {"finite": "clip"}}, "on_violation clips finite"),
        ({"rises_with": ["a", "b", "c"], "falls_with": ["d", "e", "f"], "not_above": ["g", "h", "i"]}, "too many"),
    ],
)
def test_what_does_not_fit_together_is_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Output.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{classes: yes}", "p.classes: 'yes' is neither true, false nor logits"),
        ("{range: [0, 1], on_violation: {rnge: clip}}", "p.on_violation: 'rnge' is no guard. Did you mean range?"),
        ("{range: [0, 1], on_violation: {range: clipp}}", "p.on_violation: 'clipp' is no action. Did you mean clip?"),
        ("{range: [0, 1], on_violation: 7}", "p.on_violation: '7' is no action. Write one of observe, flag"),
    ],
)
def test_one_slip_is_one_problem_in_words_of_the_configuration(settings: str, said: str) -> None:
    with pytest.raises(ProblemsFound) as found:
        load(sets=[f"models.m.outputs.p={settings}"], environ={})
    (problem,) = found.value.problems
    assert said in str(problem)
