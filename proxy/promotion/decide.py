"""Whether a version keeps its bounds in a step, decided: that nothing was found against it yet is no reason to go on.

A bound is kept where the answers of the step refute, at KEPT_LEVEL, that the version is beyond it. For shares that is
a confidence sequence's upper end (proxy/shadow/sequence.py), so that looking twice a second costs nothing. The index of
the outputs is compared with what it would be, with its bias and noise, if the version were at the bound (noncentral
chi-square; Yurdakul, "Statistical properties of population stability index", 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Literal

from native.histogram import EDGES
from proxy.config.promotion import PromotionBounds
from proxy.promotion.finding import Decision, Finding
from proxy.promotion.guard import FEWEST_CALLERS, QUANTILE, Arm
from proxy.promotion.outputs import answers, caller_count
from proxy.shadow.sequence import mean_evidence, mean_interval

KEPT_LEVEL = 0.05
"""A step ends wrongly for one bound with at most this chance; the bounds are watched in the next step too."""
MOST_ANSWERS = 1 << 22  # that are foreseen; beyond it, no number of answers counts as enough
FORESEEN = 0.01  # of how many answers are foreseen: so much too many at most
INDEX_DEVIATIONS = 3.0
SAMPLED = 16
"""One answer of so many is in the sample of outputs."""


def findings(candidate: Arm, incumbent: Arm, bounds: PromotionBounds) -> list[Finding]:
    """Of each bound. Both arms are of one step.

    What is beyond a bound is found by proxy.promotion.guard; here it is undecided.
    """
    return [
        _rate("errors", candidate, incumbent, bounds.errors),
        _rate("fallbacks", candidate, incumbent, bounds.fallbacks),
        _latency(candidate, incumbent, bounds.latency),
        *_outputs(candidate, incumbent, bounds.outputs),
    ]


def _rate(bound: Literal["errors", "fallbacks"], candidate: Arm, incumbent: Arm, rise: float) -> Finding:
    here, there = (arm.errors if bound == "errors" else arm.fallbacks for arm in (candidate, incumbent))
    if not incumbent.requests:
        return Finding(bound, Decision.UNDECIDED, "the other versions have answered nothing to compare with")

    def kept(times: float) -> bool:
        """With so many times the answers, in the same proportions."""
        n, k = candidate.requests * times, incumbent.requests * times
        high = mean_interval(min(here * times, n), n, 2 * KEPT_LEVEL).high
        return high <= rise or high <= mean_interval(min(there * times, k), k, 2 * KEPT_LEVEL).low + rise

    return _finding(bound, candidate.requests, kept)


def _latency(candidate: Arm, incumbent: Arm, bound: float) -> Finding:
    cumulative = list(accumulate(incumbent.latency))
    if not cumulative[-1]:
        return Finding("latency", Decision.UNDECIDED, "the other versions have answered nothing to compare with")
    usual = next(i for i, below in enumerate(cumulative) if below >= QUANTILE * cumulative[-1])
    edge = next((i for i, e in enumerate(EDGES) if e >= EDGES[usual] * bound), len(EDGES) - 1)
    count, faster = sum(candidate.latency), sum(candidate.latency[: edge + 1])

    def kept(times: float) -> bool:
        return mean_evidence(faster * times, count * times, QUANTILE) >= -math.log(KEPT_LEVEL)

    return _finding("latency", count, kept)


def _outputs(candidate: Arm, incumbent: Arm, bound: float | None) -> list[Finding]:
    if bound is None:
        return []
    from proxy.shadow.drift import BINS, stability_index  # noqa: PLC0415 - brings numpy, 20 MB

    here, there = answers(candidate.outputs), answers(incumbent.outputs)
    callers = min(map(caller_count, (candidate.callers, incumbent.callers)))
    freedom = BINS - 1

    def noise(parts: float) -> float:
        """Bias less deviations of the index of a version at the bound, of samples with `parts` = 1/n + 1/k."""
        return freedom * parts - INDEX_DEVIATIONS * math.sqrt(4 * bound * parts + 2 * freedom * parts**2)

    sides = 1 + (min(here, there) / max(here, there) if min(here, there) else 1.0)
    enough = next(n for n in (1 << i for i in range(4, 40)) if bound + noise(sides / n) > freedom * sides / n)
    needed = next(n for n in range(enough // 2, enough + 1) if bound + noise(sides / n) > freedom * sides / n)
    if min(here, there) < needed:
        words = f"of which one in {SAMPLED} is compared"
        how = ""
        if min(candidate.requests, incumbent.requests) >= SAMPLED * 2 * needed and not min(here, there):
            words, how = "none of its answers holds anything to compare", "Set promotion.bounds.outputs to off"
        return [
            Finding("outputs", Decision.UNDECIDED, words, min(here, there) * SAMPLED, needed * SAMPLED, how),
        ]
    if callers < FEWEST_CALLERS:
        words = f"its answers are of {callers:.0f} callers, of the {FEWEST_CALLERS} that tell versions from callers"
        how = "Set promotion.by to request, or promotion.bounds.outputs to off"
        return [Finding("outputs", Decision.UNDECIDED, words, how=how)]
    seen = stability_index([float(c) for c in incumbent.outputs], [float(c) for c in candidate.outputs])
    if seen is not None and seen <= bound + noise(1 / here + 1 / there):
        return [Finding("outputs", Decision.KEPT, f"a population stability index of {seen:.2f}")]
    words = f"a population stability index of {seen:.2f} is seen, {bound:g} is allowed, and it is not sure either way"
    return [Finding("outputs", Decision.UNDECIDED, words)]


def _finding(bound: str, count: int, kept: Callable[[float], bool]) -> Finding:
    if count and kept(1.0):
        return Finding(bound, Decision.KEPT)
    if not count:
        return Finding(bound, Decision.UNDECIDED, "it has answered nothing in this step")
    times = 2.0
    while not kept(times):
        times *= 2
        if count * times > MOST_ANSWERS:
            return Finding(bound, Decision.UNDECIDED, f"{count} answers lie at or beyond the bound, not surely")
    low, high = times / 2, times
    while high - low > FORESEEN * high:
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return Finding(bound, Decision.UNDECIDED, answers=count, needed=math.ceil(count * high))
