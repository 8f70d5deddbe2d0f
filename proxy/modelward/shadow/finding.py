"""What was found of a shadow under one bound."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from modelward.shadow.sequence import Interval

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums


class Verdict(StrEnum):
    """worse: a bound is broken. equivalent: all are kept. better: and errors or latency are lower. With confidence."""

    BETTER = "better"
    EQUIVALENT = "equivalent"
    WORSE = "worse"
    UNDECIDED = "undecided"


class Finding(Struct, frozen=True):
    """One bound: what was measured (None: nothing yet), its confidence interval, and the bound: an interval
    above `most` breaks it, one below `least` keeps it. The two differ by the noise floor."""

    name: str
    value: float | None
    interval: Interval
    least: float
    most: float
    lower_is: float | None
    """Where the interval lies below, the shadow is better than the primary; None where it cannot be."""
    held: Verdict | None = None
    """What is left of it where few callers would decide otherwise."""

    @property
    def verdict(self) -> Verdict:
        if self.held is not None:
            return self.held
        if self.interval.low > self.most:
            return Verdict.WORSE
        if self.interval.high >= self.least:
            return Verdict.UNDECIDED
        if self.lower_is is not None and self.interval.high < self.lower_is:
            return Verdict.BETTER
        return Verdict.EQUIVALENT


def pairs(sums: Sums) -> int:
    """Pairs that have ended, by answers or by failures."""
    return sums["compared"] + sums["primary_failed"] + sums["shadow_failed"] + sums["both_failed"]
