"""What goes wrong in an event loop's own callbacks: strangers fill no log, and bugs are still told."""

import asyncio
import logging

import pytest

from modelward.server.mishaps import PERIOD_SECONDS, Mishaps


class Loop:
    def __init__(self) -> None:
        self.told: list[str] = []

    def default_exception_handler(self, context: dict[str, object]) -> None:
        self.told.append(str(context["message"]))


def tell(mishaps: Mishaps, loop: Loop, **context: object) -> None:
    handler: asyncio.AbstractEventLoop = loop  # type: ignore[assignment]
    mishaps(handler, {"message": "SSL handshake failed", "exception": ValueError("no text"), **context})


def test_what_connections_cause_is_a_line_a_period_with_a_count_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    mishaps, loop = Mishaps(lambda: now[0]), Loop()
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            tell(mishaps, loop, transport=object())
        now[0] += PERIOD_SECONDS
        tell(mishaps, loop, protocol=object())
    assert caplog.messages == [
        "a connection was given up: SSL handshake failed: ValueError",
        "a connection was given up: SSL handshake failed: ValueError; 49 more since the last such line",
    ]
    assert loop.told == []


def test_what_no_connection_causes_is_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    mishaps, loop = Mishaps(), Loop()
    tell(mishaps, loop, message="Task exception was never retrieved", task=object())
    assert loop.told == ["Task exception was never retrieved"]
    assert caplog.messages == []


def test_a_bug_on_a_connection_is_told_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    tell(Mishaps(), Loop(), protocol=object(), exception=AttributeError("ours"))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
