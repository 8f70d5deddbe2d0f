"""What READY and `check` say of models that watch identities, and of what they lack to do it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modelward.config.schema import Config
from modelward.models.watched import notes, words

FALLBACK = [{"value": {"y": [[0.5]]}}]
SCORES = {"y": {"classes": True}}


def told(profile: object = None, **settings: Any) -> list[str]:
    config = Config.model_validate({"models": {"m": settings}})
    version: Any = SimpleNamespace(name="m", version="1", profile=profile)
    return [note.what for note in notes(config, [version])]


def test_a_model_that_watches_nobody_lacks_nothing() -> None:
    assert told() == []


def test_what_a_model_lacks_is_told_one_by_one() -> None:
    act = {"mode": "act"}
    evidence, scores, fallback = told(detection=act)
    assert "there is no profile" in evidence
    assert "no output holds scores of classes" in scores
    assert "the steps round, top_class and delay of detection change no answer" in scores
    assert "the model has no fallback" in fallback
    assert told(object(), detection=act, outputs=SCORES, fallback=FALLBACK) == []
    assert told(object(), detection=act | {"strongest": "round"}, outputs=SCORES) == []
    assert told(object(), detection=act | {"strongest": "tag"}, outputs=SCORES) == []
    assert told(object(), detection={"mode": "observe"}, outputs=SCORES) == []


@pytest.mark.parametrize("detection", [{"mode": "observe"}, {"mode": "act", "strongest": "tag"}])
def test_a_model_that_changes_no_answer_is_told_too_which_signals_need_the_scores_of_classes(
    detection: dict[str, str],
) -> None:
    (scores,) = told(object(), detection=detection)
    assert scores == (
        "no output holds scores of classes: walks along a boundary between classes, and changed labels, are not seen"
    )


def test_ready_names_the_models_that_watch_and_how() -> None:
    models = {
        "fraud": {"detection": {"mode": "act", "identities": {"a": {"mode": "observe"}}}},
        "ranking": {"detection": {"mode": "observe"}},
        "other": {},
    }
    access = {"keys": "keys.json", "rules": [{"identity": "*", "models": ["*"]}]}
    config = Config.model_validate({"access": access, "models": models})
    assert words(config, ["fraud", "fraud", "other", "ranking"]) == (
        "fraud: act up to block, 1 override; ranking: observe"
    )
