"""Near names, also for names that strangers make up."""

from proxy.models.suggest import MOST_CANDIDATES, did_you_mean, near


def test_the_nearest_name_comes_first_whatever_its_case() -> None:
    assert near("FRAUD-lit", ["other", "fraud", "Fraud-Lite"]) == ["Fraud-Lite", "fraud"]


def test_nothing_near_is_nothing_suggested() -> None:
    assert did_you_mean("zebra", ["fraud"]) == ""
    assert did_you_mean("fraut", ["fraud", "frau"]) == "did you mean frau or fraud?"


def test_a_name_of_unreasonable_length_is_not_compared() -> None:
    assert near("a" * 65, ["a" * 64]) == []


def test_only_so_many_candidates_are_compared() -> None:
    candidates = [f"model-{i:04}" for i in range(MOST_CANDIDATES)]
    assert near("model-9999", [*candidates, "model-9999"], most=MOST_CANDIDATES + 1) == near(
        "model-9999", candidates, most=MOST_CANDIDATES + 1
    )
