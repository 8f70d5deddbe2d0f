"""Stages stand beside their budgets."""

import pytest

from loadtests import stages

FIGURES = {
    "scan, 156 bytes, raw contents": 40.0,
    "limit: admit, four levels, 4096 peers": 81.0,
    "score: 30 features": 1000.0,
    "deadline: add + cancel": 5.0,
    "metrics: 3 histogram records": 15.0,
    "compare, 16 scores": 300.0,
    "reply, one output": 45.0,
}


def test_budgets_come_first_and_are_judged() -> None:
    found = stages.judge(FIGURES)
    assert [stage.verdict for stage in found] == ["within", "over", "within", "within", "within", "within", ""]
    assert found[-1].name == "reply, one output"


def test_a_budget_whose_benchmark_is_gone_is_an_error() -> None:
    with pytest.raises(LookupError, match="deadline"):
        stages.judge({name: ns for name, ns in FIGURES.items() if not name.startswith("deadline")})
