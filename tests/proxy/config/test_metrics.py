"""Identities that have metrics of their own."""

from __future__ import annotations

import pytest

from modelward.config.load import load
from modelward.problem import ProblemsFound


def loaded(names: str) -> tuple[str, ...]:
    return load(None, ['models.m.upstreams=["127.0.0.1:1"]', f"metrics.identities={names}"], {}).metrics.identities


def test_no_identity_has_metrics_unless_it_is_named() -> None:
    assert loaded("[]") == ()
    assert loaded("[team-a, team-b]") == ("team-a", "team-b")


@pytest.mark.parametrize(
    ("names", "words"),
    [("[a, a]", "'a' is there twice"), ("['']", "1 to 128 characters"), (str([f"t{i}" for i in range(101)]), "100")],
)
def test_what_cannot_be_is_told(names: str, words: str) -> None:
    with pytest.raises(ProblemsFound, match=words):
        loaded(names)
