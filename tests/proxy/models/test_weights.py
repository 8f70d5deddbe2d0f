"""Which versions answer where those that promotions chose are not there."""

from __future__ import annotations

import pytest

from modelward.config.load import load
from modelward.models.weights import overridden


@pytest.mark.parametrize(
    ("served", "answer"),
    [
        (("1", "2", "3"), {"2": 1}),
        (("1", "3"), {"1": 1}),  # the next older one
        (("3", "4"), {"2": 1}),  # which is not there: what was not promoted answers nothing
    ],
)
def test_no_version_takes_over_that_was_not_promoted(served: tuple[str, ...], answer: dict[str, int]) -> None:
    config = load(sets=["models.m.version_policy=promoted"], environ={})
    assert overridden(config, {"m": {"2": 1}}, {"m": served}) == {"m": answer}
