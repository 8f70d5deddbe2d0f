"""Durations, rates and sizes as people write them, turned into integers of nanoseconds, floats per second and bytes."""

import re
from fractions import Fraction
from typing import Annotated

from modelward.config.fields import BeforeValidator, PlainSerializer, WithJsonSchema

_NUMBER = r"(\d+(?:\.\d+)?)"
DURATION_PATTERN = rf"^{_NUMBER}(ns|us|ms|s|m|h)$"
RATE_PATTERN = rf"^{_NUMBER}/(s|m|h)$"
BACKEND_TIME_PATTERN = rf"^{_NUMBER}(us|ms|s|m|h)/(s|m|h)$"
SIZE_PATTERN = rf"^{_NUMBER} ?(B|KB|MB|GB|KiB|MiB|GiB)$"

SECOND = 10**9
MINUTE = 60 * SECOND
KiB, MiB = 2**10, 2**20
NANOSECONDS = {"h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1}
PERIODS = {"s": 1, "m": 60, "h": 3600}
BYTES = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1}

# A day is longer than any deadline or idle time that helps; the bound keeps sums of nanoseconds far from 2**63.
LONGEST_DURATION = 24 * 3600 * SECOND
# Above 10**9 per second the interval between two requests is below the clock's nanosecond.
HIGHEST_RATE = 1e9


class UnitError(ValueError):
    """Text that is not what the field takes; `how` says what to write."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(what)
        self.how = how


def _match(pattern: str, value: object, kind: str, how: str) -> re.Match[str]:
    found = re.fullmatch(pattern, value.strip(), re.ASCII) if isinstance(value, str) else None
    if found is None:
        shown = repr(value) if isinstance(value, str | int | float | bool) else f"a {type(value).__name__}"
        raise UnitError(f"{shown} is not a {kind}", how)
    return found


def parse_duration(value: object) -> int:
    """`50ms`, `1.5s`, `2m`, `1h` -> nanoseconds, more than 0 and at most a day. Raises UnitError."""
    how = "Write a number and a unit (ns, us, ms, s, m, h): 50ms, 1.5s, 2m"
    found = _match(DURATION_PATTERN, value, "duration", how)
    duration = int(Fraction(found[1]) * NANOSECONDS[found[2]])
    if not 0 < duration <= LONGEST_DURATION:
        raise UnitError(f"{value!r} is out of range", "Durations are longer than nothing and at most 24h")
    return duration


def parse_rate(value: object) -> float:
    """`1000/s`, `60/m`, `10/h` -> events per second, more than 0 and at most 1e9. Raises UnitError."""
    found = _match(RATE_PATTERN, value, "rate", "Write a number per s, m or h: 1000/s, 60/m")
    rate = float(Fraction(found[1]) / PERIODS[found[2]])
    if not 0 < rate <= HIGHEST_RATE:
        raise UnitError(
            f"{value!r} is out of range", "Rates are above 0 and at most 1000000000/s; without one there is no limit"
        )
    return rate


def parse_backend_time(value: object) -> float:
    """`500ms/s`, `2s/s` -> seconds per second, 1e-6 to 2**20. Raises UnitError."""
    found = _match(
        BACKEND_TIME_PATTERN, value, "backend time", "Write a duration per s, m or h: 500ms/s, or 2s/s for two backends"
    )
    share = float(Fraction(found[1]) * NANOSECONDS[found[2]] / SECOND / PERIODS[found[3]])
    if not 1e-6 <= share <= 2**20:
        raise UnitError(f"{value!r} is out of range", "Backend time is 1us/s to 1048576s/s")
    return share


def parse_size(value: object) -> int:
    """`16MiB`, `64KB`, `1GiB` or a plain integer -> bytes, more than 0. Raises UnitError."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        how = "Write bytes as a number, or a number and a unit (KB, MB, GB, KiB, MiB, GiB): 16MiB"
        found = _match(SIZE_PATTERN, value, "size", how)
        size = int(Fraction(found[1]) * BYTES[found[2]])
    if size <= 0:
        raise UnitError(f"{value!r} is out of range", "Sizes are more than 0 bytes")
    return size


def format_duration(nanoseconds: int) -> str:
    """The longest unit that gives a whole number: `1500ms`, `2m`."""
    unit = next(u for u, size in NANOSECONDS.items() if nanoseconds % size == 0)
    return f"{nanoseconds // NANOSECONDS[unit]}{unit}"


def format_rate(per_second: float) -> str:
    """Per second where that is a whole number or more than one, else per minute or hour: `1000/s`, `6/m`."""
    for unit, period in PERIODS.items():
        count = round(per_second * period, 6)
        if count >= 1 and count == int(count):
            return f"{int(count)}/{unit}"
    for unit, period in PERIODS.items():
        if (count := per_second * period) >= 1:
            return f"{count:.12g}/{unit}"
    return f"{count:.12g}/h" if count >= 1e-4 else f"{count:.15f}/h"


def format_backend_time(share: float) -> str:
    """Per second where that is a whole number of milliseconds, else per minute or hour: `500ms/s`, `250ms/m`."""
    for unit, period in PERIODS.items():
        count = round(share * period * 1e3, 6)
        if count >= 1 and count == int(count):
            return f"{int(count) // 1000}s/{unit}" if count % 1000 == 0 else f"{int(count)}ms/{unit}"
    return f"{share * 1e3:.12g}ms/s"


def format_size(size: int) -> str:
    """The largest binary unit that gives a whole number: `16MiB`, `65000B`."""
    unit = next(u for u in ("GiB", "MiB", "KiB", "B") if size % BYTES[u] == 0)
    return f"{size // BYTES[unit]}{unit}"


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


def _serializer(function: object) -> PlainSerializer:
    return PlainSerializer(function, return_type=str, when_used="json")  # type: ignore[arg-type]


Duration = Annotated[
    int, BeforeValidator(parse_duration), _serializer(format_duration), _schema(DURATION_PATTERN, "50ms")
]
Rate = Annotated[float, BeforeValidator(parse_rate), _serializer(format_rate), _schema(RATE_PATTERN, "1000/s")]
BackendTime = Annotated[
    float,
    BeforeValidator(parse_backend_time),
    _serializer(format_backend_time),
    _schema(BACKEND_TIME_PATTERN, "500ms/s"),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    _serializer(format_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": SIZE_PATTERN}],
            "examples": ["16MiB"],
        }
    ),
]
