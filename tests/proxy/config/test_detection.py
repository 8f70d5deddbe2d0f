"""What detection over time may be set to."""

from __future__ import annotations

from typing import Any

import pytest

from modelward.config.detection import MOST_PATTERNS, ModelDetection
from modelward.config.schema import Config

ACCESS = {"keys": "keys.json", "rules": [{"identity": "*", "models": ["*"]}]}


def config(identities: dict[str, Any], **keys: Any) -> Config:
    return Config.model_validate({"models": {"fraud": {"detection": {"identities": identities}}}} | keys)


def refused(identities: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(ValueError) as raised:
        config(identities, **keys)
    return str(raised.value)


def test_a_model_watches_nobody_unless_it_is_told_to() -> None:
    assert not ModelDetection().is_on
    assert ModelDetection.model_validate({"mode": "observe"}).is_on
    assert ModelDetection.model_validate({"identities": {"partner": {"mode": "act"}}}).is_on


def test_what_differs_for_some_identities_takes_the_place_of_what_is_for_all() -> None:
    settings = config({"sensor-*": {"near_duplicates": "allow", "by": "key"}}, access=ACCESS).models["fraud"].detection
    own = settings.of("sensor-*")
    assert (own.near_duplicates, own.strongest, own.mode) == ("allow", settings.strongest, settings.mode)
    assert settings.of(None) is settings


def test_names_count_before_patterns_and_longer_patterns_before_shorter_ones() -> None:
    some = {name: {"mode": "act"} for name in ("*", "team-*", "team-a", "*-long-pattern")}
    assert config(some, access=ACCESS).models["fraud"].detection.ordered == ["team-a", "*-long-pattern", "team-*", "*"]


@pytest.mark.parametrize(
    ("identities", "keys", "told"),
    [
        ({"a": {"mode": "act"}}, {}, "no caller has an identity"),
        ({"a": {"by": "key"}}, {"access": ACCESS}, "nothing is set for these identities"),
        ({"a": {"budget": 5}}, {"access": ACCESS}, "greater than or equal to 100"),
        ({str(i): {"mode": "act"} for i in range(MOST_PATTERNS + 1)}, {"access": ACCESS}, "at most 64"),
    ],
)
def test_what_makes_no_sense_is_refused(identities: dict[str, Any], keys: dict[str, Any], told: str) -> None:
    assert told in refused(identities, **keys)


def test_patterns_of_several_models_count_together_and_the_same_one_counts_once() -> None:
    half = {str(i): {"mode": "act"} for i in range(MOST_PATTERNS)}
    models = {name: {"detection": {"identities": half}} for name in ("a", "b")}
    Config.model_validate({"access": ACCESS, "models": models})
    models["b"] = {"detection": {"identities": {"another": {"mode": "act"}}}}
    with pytest.raises(ValueError, match="65 patterns"):
        Config.model_validate({"access": ACCESS, "models": models})
