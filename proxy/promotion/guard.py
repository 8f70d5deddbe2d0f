"""Whether a version does surely worse than those it takes over from: canary, errors, fallbacks, latency, and
how its answers are distributed.

Intervals that hold at every look (proxy/shadow/sequence.py) since the promotion began tell a small difference once
there is enough of it. A version that was good and fails now is told by the last seconds alone, at a level at which
looking twice a second for a year gives a false alarm with less than one chance in ten.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add, sub
from typing import Any

from native.figures import CALLER_PARTS
from native.histogram import EDGES
from proxy.config.promotion import PromotionBounds
from proxy.promotion.outputs import CELLS, answers, caller_count, sure_index
from proxy.shadow.sequence import Interval, mean_evidence, mean_interval
from proxy.status import Code

# what a backend does to a request, as against what its client or a limit does
FAILURES = (Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS)
QUANTILE = 0.99
LEVEL = 0.05 / 8
"""Of an interval of the whole time: four bounds of two sides each, together at most 5 %."""
RECENT_LEVEL = 1e-10
FEWEST_CALLERS = 32
"""Of either side: that many differ by about the default bound where each has answers of their own kind, by far less as
callers are."""
SECOND = 1e9


@dataclass(frozen=True)
class Arm:
    """What versions have answered in some time. latency: requests per cell of native.histogram.

    failing: workers in which the canary fails now. outputs, callers: of a sample of answers (outputs.py).
    """

    requests: int
    errors: int
    fallbacks: int
    latency: tuple[int, ...]
    failing: int = 0
    outputs: tuple[int, ...] = (0,) * CELLS
    callers: tuple[int, ...] = (0,) * CALLER_PARTS

    def __add__(self, other: Arm) -> Arm:
        return Arm(
            self.requests + other.requests,
            self.errors + other.errors,
            self.fallbacks + other.fallbacks,
            tuple(map(add, self.latency, other.latency)),
            self.failing + other.failing,
            tuple(map(add, self.outputs, other.outputs)),
            tuple(map(add, self.callers, other.callers)),
        )

    def since(self, before: Arm) -> Arm:
        """What has come since then, or all of it where counting has begun anew."""
        if before.requests > self.requests:
            return self
        return Arm(
            self.requests - before.requests,
            self.errors - before.errors,
            self.fallbacks - before.fallbacks,
            tuple(map(sub, self.latency, before.latency)),
            self.failing,
            tuple(map(sub, self.outputs, before.outputs)),
            tuple(map(sub, self.callers, before.callers)),
        )


@dataclass(frozen=True)
class Breach:
    """bound: its key in the configuration. words: what was found, with figures."""

    bound: str
    words: str


NOTHING = Arm(0, 0, 0, (0,) * len(EDGES))


def arm_of(figures: Mapping[str, Any], latency: Sequence[int], outputs: Sequence[int], callers: Sequence[int]) -> Arm:
    """Of one version's figures: native.figures.models, latency, outputs and callers."""
    codes = figures["codes"]
    errors = sum(codes.get(code, 0) for code in FAILURES)
    answered = codes.get(Code.OK, 0) + errors
    fallbacks, failing = sum(figures["fallbacks"].values()), figures["failing"]
    return Arm(answered, errors, fallbacks, tuple(latency), failing, tuple(outputs), tuple(callers))


def breaches(candidate: Arm, incumbent: Arm, bounds: PromotionBounds, *, recent: bool = False) -> list[Breach]:
    """The bounds that the candidate is surely beyond; none where it cannot be told.

    recent: both arms are of the last seconds, and looked at anew each time.
    """
    level = RECENT_LEVEL if recent else LEVEL
    return [
        *_canary(candidate),
        *_rates(candidate, incumbent, bounds, level),
        *_latency(candidate, incumbent, bounds, level),
    ]


def moved(candidate: Arm, incumbent: Arm, bounds: PromotionBounds, steps: int) -> list[Breach]:
    """Whether the candidate's answers are surely distributed otherwise, beyond the bound.

    Both arms are of one step of so many, at each of which counting begins anew. Of few callers nothing is said.
    """
    if bounds.outputs is None or min(map(caller_count, (candidate.callers, incumbent.callers))) < FEWEST_CALLERS:
        return []
    index = sure_index(candidate.outputs, incumbent.outputs, 2 * LEVEL / steps, above=bounds.outputs)
    if not index:
        return []
    counts = f"a sample of {answers(candidate.outputs)} against one of {answers(incumbent.outputs)}"
    words = f"its answers are distributed otherwise than the others': the population stability index of {counts} is"
    return [Breach("outputs", f"{words} {index:.2f} at least ({bounds.outputs:g} is allowed)")]


def _canary(candidate: Arm) -> Iterator[Breach]:
    """Others may get its requests meanwhile, so that nothing else would tell."""
    if candidate.failing:
        yield Breach("canary", f"its canary fails, in {candidate.failing} of the workers")


def _rates(candidate: Arm, incumbent: Arm, bounds: PromotionBounds, level: float) -> Iterator[Breach]:
    for bound, what, here, there, rise in (
        ("errors", "failed", candidate.errors, incumbent.errors, bounds.errors),
        ("fallbacks", "were answered by the fallback", candidate.fallbacks, incumbent.fallbacks, bounds.fallbacks),
    ):
        low = _share(here, candidate.requests, level).low
        high = _share(there, incumbent.requests, level).high
        if low > high + rise:
            share = there / incumbent.requests
            yield Breach(
                bound,
                f"{here} of {candidate.requests} requests {what}, {share:.2%} of the others' "
                f"(at most {rise:.2%} more are allowed)",
            )


def _latency(candidate: Arm, incumbent: Arm, bounds: PromotionBounds, level: float) -> Iterator[Breach]:
    usual = _surely_above(incumbent.latency, level)
    if usual is None:
        return
    edge = next((i for i, e in enumerate(EDGES) if e >= usual * bounds.latency), len(EDGES) - 1)
    count, slower = sum(candidate.latency), sum(candidate.latency[edge + 1 :])
    if _surely(slower, count, 1 - QUANTILE, level):
        yield Breach(
            "latency",
            f"{slower} of {count} requests took longer than {EDGES[edge] / SECOND:.4g} s, "
            f"{bounds.latency:g} times the others' p99",
        )


def _surely_above(latency: Sequence[int], level: float) -> int | None:
    """The lowest edge (ns) that the quantile is surely not above; None where none is yet.

    One edge decides whether it errs, the last below the true quantile, so that trying all of them costs nothing
    (Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification", 2022).
    """
    cumulative = list(accumulate(latency))
    count = cumulative[-1]
    edge = bisect.bisect_left(cumulative, True, key=lambda below: _surely(below, count, QUANTILE, level))
    return int(EDGES[edge]) if edge < len(EDGES) - 1 else None


def _share(some: int, count: int, level: float) -> Interval:
    """Counters are read one after the other while requests end: some may be counted in the first alone."""
    return mean_interval(min(some, count), count, level)


def _surely(some: int, count: int, above: float, level: float) -> bool:
    """Whether their share is more than `above`."""
    return mean_evidence(some, count, above) >= -math.log(level)
