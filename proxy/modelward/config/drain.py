"""How a server ends."""

from typing import Annotated

from modelward.config.fields import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from modelward.config.section import Section
from modelward.config.units import DURATION_PATTERN, SECOND, Duration, UnitError, format_duration, parse_duration

NONE = "0s"
LONGEST = 600 * SECOND


def _delay(value: object) -> int:
    if value in (0, NONE):
        return 0
    delay = parse_duration(value)
    if delay > LONGEST:
        raise UnitError(f"{value!r} is too long", f"Write at most {format_duration(LONGEST)}")
    return delay


class Drain(Section):
    """What SIGTERM begins. Readiness turns off at once."""

    delay: Annotated[
        int,
        BeforeValidator(_delay),
        PlainSerializer(lambda ns: format_duration(ns) if ns else NONE, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": [NONE, "5s"]}),
    ] = 0
    """How long new connections and requests are still accepted, until load balancers know. Use 5s in Kubernetes, which
    tells a pod to end before it withdraws the address."""
    timeout: Duration = Field(default=20 * SECOND, ge=SECOND)
    """How long requests in flight then have to finish."""
