"""Drift: whether a model's inputs and outputs are still what they were, and how seldom that may be denied wrongly."""

import re
from typing import Annotated

from modelward.config.fields import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from modelward.config.section import Section
from modelward.config.units import UnitError

FEWEST, MOST = 1_000, 10**12
_RATE = re.compile(r"1 in ([0-9][0-9_]{0,15})(?: requests)?")


def _requests(value: object) -> object:
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    number = int(found[1].replace("_", "")) if found else value
    if isinstance(number, int) and not isinstance(number, bool) and FEWEST <= number <= MOST:
        return number
    how = f"Write 1 in N requests, with N from {FEWEST} to {MOST} and without commas"
    if isinstance(value, str) and _RATE.fullmatch(plain := value.replace(",", "")):
        how = f"Write {plain}, without commas"
    raise UnitError(f"{value!r} is not such a rate", how)


def in_words(requests: int) -> str:
    return f"1 in {requests} requests"


FalseAlarms = Annotated[
    int,
    BeforeValidator(_requests),
    PlainSerializer(in_words, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_RATE.pattern}$"}),
]


class Drift(Section):
    """Watches what a sample of the requests and their answers look like, and tells when that changes."""

    share: float = Field(default=0.1, gt=0, le=1)
    """Share of the requests that are looked at. At most 1,000 rows a second of a version are judged."""
    false_alarms: FalseAlarms = 10_000_000
    """How seldom an alarm of one version may come while nothing changes, in all its requests: `1 in 10000000 requests`.
    """
    tolerance: float = Field(default=0.005, ge=0, le=0.5)
    """Share of rows that may come to lie elsewhere without being a change. 0: any change is one, in time."""
    training_tolerance: float = Field(default=0.1, ge=0, le=0.5)
    """Share of rows that may lie elsewhere than the training data do, by the p-values of the profile."""
    gates_promotions: bool = True
    """A version whose outputs have changed by themselves is rolled back while it is promoted. While it is not clear
    whose change it is, the step does not end."""
