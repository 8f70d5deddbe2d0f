"""Near names, also for names that strangers make up."""

import time

import pytest

from modelward.suggest import MOST_CANDIDATES, did_you_mean, near


def test_the_nearest_name_comes_first_whatever_its_case() -> None:
    assert near("FRAUD-lit", ["other", "fraud", "Fraud-Lite"]) == ["Fraud-Lite", "fraud"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("fruad", "fraud"),
        ("htp", "http"),
        ("workrs", "workers"),
        ("resnet-51", "resnet-50"),
        ("a", "a"),
        ("mlp2", "mlp"),
    ],
)
def test_the_usual_slips_are_recognised(typed: str, meant: str) -> None:
    assert near(typed, ["transformer", meant, "zebra"]) == [meant]


def test_nothing_near_is_nothing_suggested() -> None:
    assert did_you_mean("zebra", ["fraud"]) == ""
    assert did_you_mean("", ["fraud"]) == ""
    assert did_you_mean("fraut", ["fraud", "frau"]) == "did you mean frau or fraud?"


def test_a_name_of_unreasonable_length_is_not_compared() -> None:
    assert near("a" * 65, ["a" * 64]) == []


def test_only_so_many_candidates_are_compared() -> None:
    strangers = [f"{i}" for i in range(MOST_CANDIDATES)]
    assert near("fraud", [*strangers[1:], "fraud"]) == ["fraud"]
    assert near("fraud", [*strangers, "fraud"]) == []


def test_a_name_made_to_be_expensive_is_not() -> None:
    candidates = [f"model-{i:058}" for i in range(MOST_CANDIDATES)]
    near("warm", candidates)
    took = []
    for i in range(20):
        before = time.process_time_ns()
        near(f"model-{i + 5000:058}", candidates)
        took.append(time.process_time_ns() - before)
    assert min(took) < 5_000_000  # about 0.2 ms; a comparison letter by letter takes over 50
