"""The log of connections refused and closed."""

import logging

import pytest

from modelward.telemetry.close_reasons import MEANING, CloseReasonLog
from modelward_native.wire.close_reason import CLOSED, REFUSED


def test_every_reason_has_its_meaning() -> None:
    assert set(MEANING) == {*REFUSED, *CLOSED}


def test_a_reason_is_one_line_a_round_however_often_it_came(caplog: pytest.LogCaptureFixture) -> None:
    told = CloseReasonLog()
    with caplog.at_level(logging.WARNING):
        told.take({"resets": (5000, "ipv4:127.0.0.1:5"), "peer_rate": (0, ""), "idle": (3, "ipv4:127.0.0.1:6")})
        told.take({"resets": (5000, "ipv4:127.0.0.1:5"), "peer_rate": (7, "ipv4:127.0.0.2:9"), "idle": (3, "")})
    assert caplog.messages == [
        "5000 connections closed, the last of ipv4:127.0.0.1:5: too many streams were reset early",
        "7 connections refused, the last of ipv4:127.0.0.2:9: they come faster than limits.connections.rate_per_peer",
    ]
