"""What is wrong with a fleet is one line a minute of each kind, with the number of those that were left out."""

from __future__ import annotations

import logging

import pytest

from modelward.fleet.once import LOG_SECONDS, OnceAMinute


def test_each_kind_is_told_once_a_minute_with_the_number_of_those_left_out(caplog: pytest.LogCaptureFixture) -> None:
    now = 5.0
    once = OnceAMinute(logging.getLogger("modelward.fleet"), lambda: now)
    for number in range(5000):
        once.say("record", logging.ERROR, "record %d", number)
    once.say("lease", logging.ERROR, "lease")
    assert caplog.messages == ["record 0", "lease"]
    now += LOG_SECONDS
    once.say("record", logging.ERROR, "record %d", 5000)
    assert caplog.messages[2:] == ["record 5000 (and 4999 more like it since the last such line)"]
