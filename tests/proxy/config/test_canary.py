"""How often canaries are run again."""

from __future__ import annotations

import pytest

from modelward.config.load import load
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.problem import ProblemsFound


def loaded(*sets: str) -> Config:
    return load(None, list(sets), {})


def test_canaries_run_every_five_minutes_unless_something_else_is_said() -> None:
    assert loaded("repository=.").settings("m").canary.interval == 300 * SECOND
    assert loaded("models.m.canary.interval=1m").settings("m").canary.interval == 60 * SECOND
    assert loaded("models.m.canary.interval=off").settings("m").canary.interval is None


def test_what_is_written_is_read_back() -> None:
    for text in ("off", "90s"):
        written = loaded(f"models.m.canary.interval={text}").settings("m").canary.model_dump(mode="json")
        assert written == {"file": None, "interval": text}


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["models.m.canary.interval=99ms"], "Write at least 100ms, or off"),
        (["models.m.canary.interval=never"], "'never' is not a duration"),
        (
            ["models.m.canary.interval=1m", 'models.m.upstreams=["127.0.0.1:1"]'],
            "Set canary.file too, or leave it out",
        ),
        (["models.m.canary.file=c.npz", "repository=."], "is set and there are no upstreams"),
    ],
)
def test_what_cannot_be_is_told(sets: list[str], words: str) -> None:
    with pytest.raises(ProblemsFound, match=words):
        loaded(*sets)
