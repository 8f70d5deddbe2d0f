"""How a version takes over from another, and what it may not do worse meanwhile."""

from typing import Annotated, Literal, Self

from modelward.config.address import OFF
from modelward.config.fields import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator
from modelward.config.section import Section
from modelward.config.units import MINUTE, Duration, UnitError

LARGEST_INDEX = 100
HOW_STEPS = "Write whole per cent that grow, the last of them 100: [1, 10, 50, 100]"

Steps = Annotated[tuple[Annotated[int, Field(ge=1, le=100)], ...], Field(strict=False, min_length=1, max_length=100)]


def _outputs(value: object) -> object:
    if value is None or value == OFF:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_INDEX:
        return float(value)
    raise UnitError(f"{value!r} is not such an index", f"Write a number above 0, at most {LARGEST_INDEX}, or off")


Outputs = Annotated[
    float | None,
    BeforeValidator(_outputs),
    PlainSerializer(lambda value: OFF if value is None else value, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": LARGEST_INDEX}, {"const": OFF}]}),
]


def check_steps(steps: tuple[int, ...]) -> None:
    """Raises UnitError where they do not grow to the whole."""
    if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1 or steps[-1] != 100:
        raise UnitError(f"{list(steps)} are no steps", HOW_STEPS)


class PromotionBounds(Section):
    """A version is rolled back when it certainly exceeds one of these bounds, compared with the versions that it takes
    over from. A step ends when the version almost certainly keeps all of them."""

    errors: float = Field(default=0.01, ge=0, le=1)
    """Rise of the share of requests that the backend fails: 0.01 allows one more in a hundred."""
    fallbacks: float = Field(default=0.01, ge=0, le=1)
    """Rise of the share of requests that a fallback answers."""
    latency: float = Field(default=1.5, ge=1, le=1000)
    """Its 99th percentile, as a multiple of theirs."""
    outputs: Outputs = 0.25
    """Population stability index of its scores against theirs. `off`: not judged. Where a header or identities choose
    the version, it needs the answers to about 32 of them or more on either side."""


class PromotionSettings(Section):
    """How a version takes over from another."""

    steps: Steps = (1, 10, 50, 100)
    """Share of the requests at each step, in per cent. A promotion begins with the first."""
    by: Literal["caller", "request"] = "caller"
    """How requests get a version where several have a share. `caller`: requests with the same value of sticky_header,
    or of the same identity, get the same one. `request`: each request by itself, so that a step has its share of few
    callers too."""
    hold: Duration = 5 * MINUTE
    """Shortest time of each step, before `--auto` goes on to the next and before the last one is over."""
    min_requests: int = Field(default=1000, ge=1)
    """Requests that the version must have answered in a step before `--auto` goes on to the next."""
    bounds: PromotionBounds = PromotionBounds.default()

    @model_validator(mode="after")
    def _steps_grow(self) -> Self:
        check_steps(self.steps)
        return self
