"""Objectives of a model, as they are written."""

from __future__ import annotations

import pytest

from modelward.config.load import load
from modelward.config.objective import Objective
from modelward.problem import ProblemsFound
from modelward.telemetry.objectives import ObjectiveSnapshot, objectives

UPSTREAM = 'models.m.upstreams=["127.0.0.1:1"]'


def loaded(*sets: str) -> Objective:
    return load(None, [UPSTREAM, *(f"models.m.objective.{each}" for each in sets)], {}).settings("m").objective


def test_one_of_a_thousand_may_fail_and_none_is_late_unless_something_else_is_said() -> None:
    assert loaded() == Objective(success=0.999, latency=None, in_time=0.99)
    assert loaded("success=0.95").success == 0.95


@pytest.mark.parametrize(("text", "ns"), [("1us", 1000), ("25ms", 25_000_000), ("2500ms", 2.5e9), ("100s", 1e11)])
def test_a_latency_is_the_bound_of_a_bucket(text: str, ns: float) -> None:
    assert loaded(f"latency={text}").latency == ns


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ("latency=30ms", "30ms is no bound of a bucket .*Write 25ms or 50ms"),
        ("latency=1h", "Write 100s"),
        ("latency=1ns", "Write 1us"),
        ("success=1", "less than 1"),
        ("in_time=0.1", "0.5"),
    ],
)
def test_what_cannot_be_is_told(sets: str, words: str) -> None:
    with pytest.raises(ProblemsFound, match=f"(?s){words}"):
        loaded(sets)


def test_metrics_have_seconds() -> None:
    assert objectives({}) == {}
    models = load(None, [UPSTREAM, "models.m.objective.latency=25ms"], {}).models
    assert objectives(models) == {"m": ObjectiveSnapshot(0.999, 0.025, 0.99)}
