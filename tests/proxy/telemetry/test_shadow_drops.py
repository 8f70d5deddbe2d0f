"""The log's words on requests that were not mirrored."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from modelward.telemetry.shadow_drops import SHADOWS_PER_ROUND, DropLog


class Total:
    def __init__(self, dropped: dict[str, int]) -> None:
        self._dropped = dropped

    def sums(self) -> dict[str, dict[str, int]]:
        return {"dropped": self._dropped}


def take(told: DropLog, **shadows: dict[str, int]) -> None:
    told.take(cast(Any, {("m", "1", name): Total(dropped) for name, dropped in shadows.items()}))


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "modelward.shadow")


def test_a_round_has_one_line_for_a_shadow_with_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    told = DropLog()
    take(told, a={"places": 3, "busy": 0}, b={"places": 0})
    take(told, a={"places": 3, "busy": 0}, b={"places": 0})
    take(told, a={"places": 5, "busy": 4}, b={"places": 0})
    assert caplog.messages == [
        "model m: 3 requests not mirrored to shadow a in 10 s: 3 places",
        "model m: 6 requests not mirrored to shadow a in 10 s: 4 busy, 2 places",
    ]


def test_a_round_of_many_shadows_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    take(DropLog(), **{f"s{number}": {"places": 1} for number in range(SHADOWS_PER_ROUND + 2)})
    assert len(caplog.messages) == SHADOWS_PER_ROUND + 1
    assert caplog.messages[-1] == "2 more shadows did not get all requests"
