"""Whether a version does significantly worse than those it takes over from: canary, errors, fallbacks, latency, and
how its answers are distributed.

Intervals that hold at every look (modelward/shadow/sequence.py) since the step began tell a small difference once
there is enough of it. A version that was good and fails now is told by the last seconds alone, at a level at which
looking twice a second for a year gives a false alarm with less than one chance in ten. Only requests whose clients did
not choose the version are evidence, and several callers must tell the same (callers.py).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from operator import add, sub
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from modelward.config.promotion import PromotionBounds
from modelward.promotion.callers import Compared, at_most, risen, share, significantly_worse, typical
from modelward.promotion.outputs import CELLS, caller_count, index_lower_bound
from modelward.promotion.parts import NO_PARTS, Parts, Way, of_one
from modelward.shadow.callers import FEW, HALF, left_out
from modelward.shadow.sequence import mean_evidence, mean_interval
from modelward_native.shadow.evidence import CALLER_PARTS, KEY
from modelward_native.telemetry.histogram import EDGES

if TYPE_CHECKING:
    from modelward.promotion.parts import Counts

QUANTILE = 0.99
LEVEL = 0.05 / 8
"""Of the intervals of all steps together: four bounds of two sides each, at most 5 %."""
RECENT_LEVEL = 1e-10
FEWEST = 100
"""Answers to a caller before what they take counts as usual for it."""
FEWEST_CALLERS = 32
"""Of either side: that many differ by about the default bound where each has answers of their own kind, by far less as
callers are."""
SECOND = 1e9


class Arm(Struct, frozen=True):
    """What versions have answered in some time, as far as it is evidence.

    latency: requests per cell of telemetry.histogram. failing: workers in which the canary fails now. outputs, callers:
    of a sample of answers (outputs.py). parts: all of that by callers; NO_PARTS: it is of one.
    """

    requests: int
    errors: int
    fallbacks: int
    latency: tuple[int, ...]
    failing: int = 0
    outputs: tuple[int, ...] = (0,) * CELLS
    callers: tuple[int, ...] = (0,) * CALLER_PARTS
    parts: Parts = NO_PARTS

    def __add__(self, other: Arm) -> Arm:
        return Arm(
            self.requests + other.requests,
            self.errors + other.errors,
            self.fallbacks + other.fallbacks,
            tuple(map(add, self.latency, other.latency)),
            self.failing + other.failing,
            tuple(map(add, self.outputs, other.outputs)),
            tuple(map(add, self.callers, other.callers)),
            self.parts + other.parts,
        )

    def since(self, before: Arm) -> Arm:
        """What has come since then, or all of it where counting has begun again."""
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
            self.parts - before.parts,
        )

    def by_caller(self) -> Way:
        """However requests got their version."""
        chance, key = self.ways()
        return chance + key

    def ways(self) -> list[Way]:
        """By how requests got their version, and by caller."""
        if self.parts.tallies:
            return self.parts.ways()
        good = max(self.requests - self.errors - self.fallbacks, 0)
        return of_one((good, self.errors, self.fallbacks), self.latency, self.outputs)


class Breach(Struct, frozen=True):
    """bound: its key in the configuration. words: what was found, with numbers."""

    bound: str
    words: str


NOTHING = Arm(0, 0, 0, (0,) * len(EDGES))


def arm_of(stats: Mapping[str, Any], counted: tuple[bytes, bytes, bytes]) -> Arm:
    """Of one version: telemetry.stats.models and shadow.evidence.counted, of which only the latter is evidence."""
    parts = Parts(*counted)
    ways = parts.ways()
    chance = sum(way.sampled.sum() for way in ways[:KEY])  # each of these is as good as a caller by itself
    callers = [int(n + (chance + i) // CALLER_PARTS) for i, n in enumerate(ways[KEY].sampled)]
    return Arm(
        requests=int(sum(way.requests.sum() for way in ways)),
        errors=int(sum(way.failed.sum() for way in ways)),
        fallbacks=int(sum(way.replaced.sum() for way in ways)),
        latency=tuple(sum(way.latency.sum(axis=0) for way in ways).tolist()),
        failing=stats["failing"],
        outputs=tuple(sum(way.outputs.sum(axis=0) for way in ways).tolist()),
        callers=tuple(callers),
        parts=parts,
    )


def breaches(
    candidate: Arm,
    incumbent: Arm,
    bounds: PromotionBounds,
    *,
    steps: int = 1,
    recent: bool = False,
    early: bool = False,
) -> list[Breach]:
    """The bounds that the candidate has significantly exceeded.

    steps: number of steps of the promotion. Both arms count one step; counting begins again at each. recent: both arms
    are of the last seconds, and a look is independent of the one before. early: more callers may come
    (callers.FEW_WAIT).
    """
    found = [*_canary(candidate)]
    ways = list(_both_ways(candidate, incumbent))
    for key, here, there in ways:
        level = (RECENT_LEVEL if recent else LEVEL / steps) / len(ways)
        expected = early and ((here.requests + there.requests) > 0).sum() > FEW
        for judge in (_rates, _latency):
            found += judge(here, there, bounds, level, aimed=key, early=expected)
    return found


def moved(candidate: Arm, incumbent: Arm, bounds: PromotionBounds, steps: int) -> list[Breach]:
    """Whether the distribution of the candidate's answers differs significantly, beyond the bound.

    steps: number of steps of the promotion. Both arms count one step; counting begins again at each. Where keys decide
    which callers get which version, few callers are no evidence.
    """
    found = []
    ways = list(_both_ways(candidate, incumbent)) if bounds.outputs is not None else []
    for key, here, there in ways:
        if key and min(caller_count(side.sampled.tolist()) for side in (here, there)) < FEWEST_CALLERS:
            continue
        index = _index(here, there, 2 * LEVEL / steps / len(ways), above=bounds.outputs or 0.0, aimed=key)
        if index:
            counts = f"a sample of {here.sampled.sum()} against one of {there.sampled.sum()}"
            words = (
                f"its answers are distributed otherwise than the others': the population stability index of {counts}"
            )
            found.append(Breach("outputs", f"{words} is {index:.2f} at least ({bounds.outputs:g} is allowed)"))
    return found


def _index(here: Way, there: Way, level: float, *, above: float, aimed: bool) -> float:
    """Lower bound of the index, also without the callers whose answers differ most; 0 where it is not above `above`."""
    index = index_lower_bound(here.outputs.sum(axis=0).tolist(), there.outputs.sum(axis=0).tolist(), level, above=above)
    skipped = left_out(int((here.sampled > 0).sum()))
    if not index or not skipped:
        return index
    usual = there.outputs.sum(axis=0) / max(int(there.sampled.sum()), 1)
    apart = abs(here.outputs - usual * here.sampled[:, None]).sum(axis=1)
    kept = apart.argsort()[: len(apart) - skipped]
    ours, theirs = (side.outputs[kept].sum(axis=0).tolist() for side in (here, there))
    callers = [Compared(0, h, 0, t, 0.0) for h, t in zip(here.sampled.tolist(), there.sampled.tolist(), strict=True)]
    most = [callers[part] for part in apart.argsort()[len(apart) - skipped :].tolist()]
    if share(most, callers, aimed=aimed) >= HALF:
        return index
    return index_lower_bound(ours, theirs, level, above=above)


def _both_ways(candidate: Arm, incumbent: Arm) -> Iterator[tuple[bool, Way, Way]]:
    """Whether keys decided who got which version, and both sides' requests; of each way in which there are some."""
    for way, (here, there) in enumerate(zip(candidate.ways(), incumbent.ways(), strict=True)):
        if here.requests.any():
            yield way == KEY, here, there


def _canary(candidate: Arm) -> Iterator[Breach]:
    """Others may get its requests meanwhile, so that nothing else would tell."""
    if candidate.failing:
        yield Breach("canary", f"its canary fails, in {candidate.failing} of the workers")


def _rates(
    here: Way, there: Way, bounds: PromotionBounds, level: float, *, aimed: bool, early: bool
) -> Iterator[Breach]:
    for bound, what, some_here, some_there, rise in (
        ("errors", "failed", here.failed, there.failed, bounds.errors),
        ("fallbacks", "were answered by the fallback", here.replaced, there.replaced, bounds.fallbacks),
    ):
        some, count = typical(some_there, there.requests)
        if not count:
            continue
        usual = mean_interval(some, count, level).high
        own = [min(usual, at_most(*counts, level)) + rise for counts in zip(some_there, there.requests, strict=True)]
        callers = _compared(some_here.tolist(), here.requests, some_there.tolist(), there.requests, own)
        told = significantly_worse(callers, level, aimed=aimed, early=early)
        if told and risen(callers, some / count) > rise:
            yield Breach(
                bound,
                f"{some_here.sum()} of {here.requests.sum()} requests {what}, told by {len(told)} of {len(callers)} "
                f"callers; {some / count:.2%} of those of the other version (at most {rise:.2%} more are allowed)",
            )


def _latency(
    here: Way, there: Way, bounds: PromotionBounds, level: float, *, aimed: bool, early: bool
) -> Iterator[Breach]:
    """What is usual for a caller is the 99th percentile of its own requests, or where these are few, of the others'."""
    counts = there.latency.sum(axis=1)
    own = [_quantile(cells, n) for cells, n in zip(there.latency.tolist(), counts.tolist(), strict=True)]
    usual = _quantile_upper_bound(typical_latency(there.latency), level)
    if usual is None:
        return
    edges = [_edge((took if n >= FEWEST else usual) * bounds.latency) for took, n in zip(own, counts, strict=True)]
    slow_here, slow_there = (
        [sum(cells[edge + 1 :]) for cells, edge in zip(side.latency.tolist(), edges, strict=True)]
        for side in (here, there)
    )
    callers = _compared(slow_here, here.latency.sum(axis=1), slow_there, counts, [1 - QUANTILE] * len(own))
    if told := significantly_worse(callers, level, aimed=aimed, early=early):
        longest = EDGES[_edge(usual * bounds.latency)] / SECOND
        yield Breach(
            "latency",
            f"{sum(slow_here)} of {here.latency.sum()} requests took longer than {longest:.4g} s, {bounds.latency:g} "
            f"times the others' p99, told by {len(told)} of {len(callers)} callers",
        )


def typical_latency(latency: Counts) -> list[int]:
    """Sums by cell without the callers whose own quantiles are the largest: as many are left out as may not decide."""
    counts = latency.sum(axis=1)
    own = [_quantile(cells, n) for cells, n in zip(latency.tolist(), counts.tolist(), strict=True)]
    seen = sorted((caller for caller, n in enumerate(counts) if n), key=own.__getitem__)
    cells: list[int] = latency[seen[: len(seen) - left_out(len(seen))]].sum(axis=0).tolist()
    return cells


def _compared(
    some_here: Sequence[int], here: Counts, some_there: Sequence[int], there: Counts, usual: Sequence[float]
) -> list[Compared]:
    """Of each caller that has asked the version."""
    each = zip(some_here, here.tolist(), some_there, there.tolist(), usual, strict=True)
    return [Compared(*counts) for counts in each if counts[1]]


def _edge(ns: float) -> int:
    """The first cell that ends there or later."""
    return min(bisect.bisect_left(EDGES, ns), len(EDGES) - 1)


def _quantile(cells: Sequence[int], count: int) -> int:
    """An upper bound of the quantile of what was seen; 0 of nothing."""
    place = bisect.bisect_left(list(accumulate(cells)), QUANTILE * count) if count else 0
    return int(EDGES[min(place, len(EDGES) - 1)]) if count else 0


def _quantile_upper_bound(latency: Sequence[int], level: float) -> int | None:
    """An edge (ns) that bounds the quantile from above; None where there is no such edge yet.

    Only one edge can be wrong, the last below the true quantile, so that trying all of them costs nothing (Howard
    and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm identification",
    2022).
    """
    cumulative = list(accumulate(latency))
    count = cumulative[-1]
    edge = bisect.bisect_left(cumulative, True, key=lambda below: _significantly_above(below, count, QUANTILE, level))
    return int(EDGES[edge]) if edge < len(EDGES) - 1 else None


def quantile_lower_bound(latency: Sequence[int], quantile: float, level: float) -> int:
    """An edge (ns) that bounds the quantile from below; 0 where there is none."""
    cumulative = list(accumulate(latency))
    count = cumulative[-1]
    edge = bisect.bisect_left(
        cumulative, True, key=lambda below: not _significantly_above(count - below, count, 1 - quantile, level)
    )
    return int(EDGES[edge - 1]) if edge else 0


def _significantly_above(some: int, count: int, above: float, level: float) -> bool:
    """Whether the share is significantly more than `above`."""
    return mean_evidence(some, count, above) >= -math.log(level)
