"""Durations, rates and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.config.units import (
    BYTES,
    LONGEST_DURATION,
    UnitError,
    format_backend_time,
    format_duration,
    format_rate,
    format_size,
    parse_backend_time,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1ns", 1),
        ("50ms", 50_000_000),
        ("1.5s", 1_500_000_000),
        ("2m", 120 * 10**9),
        ("1h", 3600 * 10**9),
        ("7us", 7000),
    ],
)
def test_a_duration_is_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["50", 50, "50 msec", "-1s", "0s", "0.1ns", "25h", "1e3s", "", None, True, "1s\n2s", "٣s"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(UnitError) as refused:
        parse_duration(text)
    assert refused.value.how


@pytest.mark.parametrize(("text", "per_second"), [("1000/s", 1000.0), ("60/m", 1.0), ("1/h", 1 / 3600), ("0.5/s", 0.5)])
def test_a_rate_is_per_second(text: str, per_second: float) -> None:
    assert parse_rate(text) == per_second


@pytest.mark.parametrize("text", ["1000", 1000, "0/s", "-1/s", "1/d", "inf/s", "nan/s", "2000000000/s", [1]])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(UnitError):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("16MiB", 16 * 2**20), ("64KB", 64_000), ("1.5KiB", 1536), (4096, 4096), ("12B", 12), ("1 GiB", 2**30)],
)
def test_a_size_is_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["16M", "MiB", 0, -1, True, 1.5, "0KiB", "1000"])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(UnitError):
        parse_size(text)


@given(st.integers(1, LONGEST_DURATION))
def test_a_formatted_duration_parses_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.integers(1, 2**40))
def test_a_formatted_size_parses_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.floats(1e-5, 1e9))
def test_a_formatted_rate_parses_back_nearly(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("text", ["2/m", "7/h", "0.1/h", "0.0001/h", "1000/s", "0.7/h"])
def test_a_rate_is_told_in_a_unit_that_people_read(text: str) -> None:
    assert format_rate(parse_rate(text)) == text


@pytest.mark.parametrize("text", ["500ms/s", "2s/s", "250ms/m", "1s/h", "7s/h", "100ms/h"])
def test_backend_time_is_told_in_a_unit_that_people_read(text: str) -> None:
    assert format_backend_time(parse_backend_time(text)) == text


def test_units_are_told_largest_first_so_that_formats_are_short() -> None:
    assert (format_duration(90 * 10**9), format_size(16 * BYTES["MiB"]), format_rate(0.1)) == ("90s", "16MiB", "6/m")
