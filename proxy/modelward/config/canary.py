"""How often a version that is served is run on its canary."""

from pathlib import Path
from typing import Annotated

from modelward.config.address import OFF
from modelward.config.fields import BeforeValidator, Field, PlainSerializer, WithJsonSchema
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
    """How often a version that is served is checked against its canary, and of upstreams' models what that is."""

    file: Path | None = Field(default=None, strict=False)
    """Canary of a model that upstreams run; `modelward canary record` writes it. Each endpoint must pass it at every
    connection before it gets requests of this model, and then at the interval. Absent: no canary. A model that runs
    here has its canary beside its file."""
    interval: Annotated[
        int | None,
        BeforeValidator(_interval),
        PlainSerializer(lambda ns: OFF if ns is None else format_duration(ns), return_type=str, when_used="json"),
        WithJsonSchema(
            {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"const": OFF}], "examples": ["5m"]}
        ),
    ] = 300 * SECOND
    """Time between two runs of each version's canary in each worker, plus or minus a fifth. `off`: only when it is
    loaded, or connected. A version or an endpoint that fails gets no requests in that worker until it passes."""
