"""Times as commands show them, also those that no calendar has."""

from __future__ import annotations

import math

import pytest

from modelward.cli.output import rfc3339, time_of


def test_a_time_is_shown_to_the_second() -> None:
    assert time_of(1e9) == "2001-09-09 01:46:40Z"
    assert rfc3339(1e9) == "2001-09-09T01:46:40.000000Z"


@pytest.mark.parametrize(("seconds", "shown", "year"), [(1e300, "1e+300 s", "9999"), (-1e300, "-1e+300 s", "0001")])
def test_a_time_that_no_calendar_has_ends_no_command(seconds: float, shown: str, year: str) -> None:
    assert time_of(seconds) == shown
    assert rfc3339(seconds).startswith(year)
    assert time_of(math.nan) == "nan s"
    assert rfc3339(math.inf).startswith("9999")
