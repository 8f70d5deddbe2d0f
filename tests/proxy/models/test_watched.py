"""What READY and `check` say of models that watch identities, and of what they lack to do it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
    assert "the model has no fallback" in fallback
    assert told(object(), detection=act, outputs=SCORES, fallback=FALLBACK) == []
    assert told(object(), detection=act | {"strongest": "round"}, outputs=SCORES) == []
    assert told(object(), detection=act | {"strongest": "tag"}) == []
    assert told(object(), detection={"mode": "observe"}) == []


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
