"""What the alerting rules hold a model to."""

from typing import Annotated

from modelward.config.fields import AfterValidator, Field
from modelward.config.section import Section
from modelward.config.units import SECOND, Duration, UnitError, format_duration

# the buckets of modelward_request_seconds, whose bounds are 1, 2.5 and 5 times a power of ten
BOUNDS = (*(step * 10**power for power in range(3, 11) for step in (1.0, 2.5, 5.0)), 100.0 * SECOND)


def _bound(latency: int) -> int:
    if latency in BOUNDS:
        return latency
    below, above = [b for b in BOUNDS if b < latency], [b for b in BOUNDS if b > latency]
    how = " or ".join(format_duration(int(bound)) for bound in (*below[-1:], *above[:1]))
    raise UnitError(f"{format_duration(latency)} is no bound of a bucket of modelward_request_seconds", f"Write {how}")


class Objective(Section):
    """What the alerting rules of `deploy/prometheus` hold the model to. No answer depends on it."""

    success: float = Field(default=0.999, ge=0.5, lt=1)
    """Share of the requests that the model or a fallback answers, of those that a limit or a mistake of the client does
    not end."""
    latency: Annotated[Duration, AfterValidator(_bound)] | None = None
    """Time within which answers are in time, from the headers to the last byte: 1, 2.5 or 5 times a power of ten, from
    1us to 100s. Absent: there is no objective for latency, and no alert."""
    in_time: float = Field(default=0.99, ge=0.5, lt=1)
    """Share of the answers that take at most `latency`."""
