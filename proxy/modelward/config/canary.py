"""How often a version that is served is run on its canary."""

from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from modelward.config.address import OFF
from modelward.config.section import Section
from modelward.config.units import DURATION_PATTERN, SECOND, UnitError, format_duration, parse_duration

SHORTEST = SECOND // 10


def _interval(value: object) -> int | None:
    if value is None or value == OFF:
        return None
    interval = parse_duration(value)
    if interval < SHORTEST:
        raise UnitError(f"{value!r} is too often", f"Write at least {format_duration(SHORTEST)}, or off")
    return interval


class CanarySettings(Section):
    """How often a version that is served is checked against its canary."""

    interval: Annotated[
        int | None,
        BeforeValidator(_interval),
        PlainSerializer(lambda ns: OFF if ns is None else format_duration(ns), return_type=str, when_used="json"),
        WithJsonSchema(
            {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"const": OFF}], "examples": ["5m"]}
        ),
    ] = 300 * SECOND
    """Time between two runs of each version's canary in each worker, plus or minus a fifth. `off`: only when it is
    loaded. A version that fails gets no requests in that worker until it passes."""
