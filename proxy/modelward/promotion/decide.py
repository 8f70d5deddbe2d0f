"""Whether a version keeps its bounds in a step, decided: that nothing was found against it yet is no reason to go on.

A bound is kept where the answers of the step refute, at KEPT_LEVEL, that the version is beyond it. For shares that is
a confidence sequence's upper end (shadow/sequence.py), so that looking twice a second costs nothing. The index of
the outputs is compared with what it would be, with its bias and noise, if the version were at the bound (noncentral
chi-square; Yurdakul, "Statistical properties of population stability index", 2018).

No caller ends a step by how much it sends. A bound is kept where the answers to all callers show it, and so do those
without the tenth of the callers that show it most (shadow/callers.py). What the others usually have is measured
without the tenth of their callers that do worst, so that no caller makes it worse in order to allow more. Such a caller
is compared with its own requests of the others: what it sends may fail, or take long, on every version.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Literal

from modelward.config.promotion import PromotionBounds
from modelward.promotion.callers import at_most, typical, untypical, without_most
from modelward.promotion.finding import Decision, Finding
from modelward.promotion.guard import FEWEST_CALLERS, QUANTILE, Arm, quantile_lower_bound, typical_latency
from modelward.promotion.outputs import answers, caller_count
from modelward.shadow.sequence import mean_evidence, mean_interval
from modelward_native.telemetry.histogram import EDGES

KEPT_LEVEL = 0.05
"""A step ends wrongly for one bound with at most this chance; the bounds are watched in the next step too."""
MOST_ANSWERS = 1 << 22  # that are foreseen; beyond it, no number of answers counts as enough
FORESEEN = 0.01  # of how many answers are foreseen: so much too many at most
INDEX_DEVIATIONS = 3.0
SAMPLED = 16
"""One answer in this many is in the sample of outputs."""


_Counts = tuple[int, int, int, int]
"""Of one caller: what failed of the version's requests, these, and likewise of the others'."""


def findings(candidate: Arm, incumbent: Arm, bounds: PromotionBounds) -> list[Finding]:
    """Of each bound. Both arms are of one step.

    What is beyond a bound is found by modelward.promotion.guard; here it is undecided.
    """
    return [
        _rate("errors", candidate, incumbent, bounds.errors),
        _rate("fallbacks", candidate, incumbent, bounds.fallbacks),
        _latency(candidate, incumbent, bounds.latency),
        *_outputs(candidate, incumbent, bounds.outputs),
    ]


def counted(arm: Arm) -> int:
    """Requests without those of the callers that send most."""
    requests = arm.by_caller().requests
    return int(requests[without_most(requests)].sum())


def _rate(bound: Literal["errors", "fallbacks"], candidate: Arm, incumbent: Arm, rise: float) -> Finding:
    if not incumbent.requests:
        return Finding(bound, Decision.UNDECIDED, "the other versions have answered nothing to compare with")
    here, there = candidate.by_caller(), incumbent.by_caller()
    some_here, some_there = (side.failed if bound == "errors" else side.replaced for side in (here, there))
    usual, k = typical(some_there, there.requests)
    left = without_most(here.requests - some_here)
    counts = list(zip(*(each.tolist() for each in (some_here, here.requests, some_there, there.requests)), strict=True))
    apart = untypical(some_there, there.requests)
    level = KEPT_LEVEL / max(len(apart), 1)
    sums = [left, list(range(len(counts)))]

    def kept(times: float) -> bool:
        """Whether the bound is kept with `times` as many answers, in the same proportions."""
        low = mean_interval(min(usual * times, k * times), k * times, 2 * KEPT_LEVEL).low
        more = {caller: _more(counts[caller], times, level, low) for caller in apart}
        own = {caller: most for caller, most in more.items() if most is not None}
        return all(share(of, times, own) <= low + rise for of in sums)

    def share(callers: Sequence[int], times: float, own: Mapping[int, float]) -> float:
        """What failed of the version's requests, at most."""
        others = [counts[caller] for caller in callers if caller not in own]
        some, n = (sum(each[of] for each in others) for of in (0, 1))
        most = n * mean_interval(some * times, n * times, 2 * KEPT_LEVEL).high
        most += sum(counts[caller][1] * own[caller] for caller in callers if caller in own)
        return float(most / max(sum(counts[caller][1] for caller in callers), 1))

    return _finding(bound, sum(counts[caller][1] for caller in left), kept)


def _more(counts: _Counts, times: float, level: float, usual: float) -> float | None:
    """What is usual, and at most how much more of this caller's requests fail on the version than on the others.

    None where it is not sure that more of them than usual fail on the others.
    """
    some_here, here, some_there, there = (n * times for n in counts)
    least = 1 - at_most(there - some_there, there, level)
    return usual + max(0.0, at_most(some_here, here, level) - least) if least > usual else None


def _latency(candidate: Arm, incumbent: Arm, bound: float) -> Finding:
    here, there = candidate.by_caller().latency, incumbent.by_caller().latency
    cumulative = list(accumulate(typical_latency(there)))
    if not cumulative[-1]:
        return Finding("latency", Decision.UNDECIDED, "the other versions have answered nothing to compare with")
    usual = EDGES[next(i for i, below in enumerate(cumulative) if below >= QUANTILE * cumulative[-1])]
    level = KEPT_LEVEL / len(there)
    own = [quantile_lower_bound(cells, QUANTILE, level) for cells in there.tolist()]
    edges = [next((i for i, e in enumerate(EDGES) if e >= max(usual, each) * bound), len(EDGES) - 1) for each in own]
    faster = (here.cumsum(axis=1))[range(len(edges)), edges]
    left = without_most(faster)
    sums = [(int(faster[of].sum()), int(here[of].sum())) for of in (left, slice(None))]

    def kept(times: float) -> bool:
        return all(mean_evidence(some * times, n * times, QUANTILE) >= -math.log(KEPT_LEVEL) for some, n in sums)

    return _finding("latency", sums[0][1], kept)


def _outputs(candidate: Arm, incumbent: Arm, bound: float | None) -> list[Finding]:
    if bound is None:
        return []
    from modelward.shadow.drift import BINS, stability_index  # noqa: PLC0415 - brings numpy, 20 MB

    sides = [side.by_caller() for side in (candidate, incumbent)]
    left = [side.outputs[without_most(side.sampled)].sum(axis=0).tolist() for side in sides]
    here, there = map(answers, left)
    callers = min(map(caller_count, (candidate.callers, incumbent.callers)))
    freedom = BINS - 1

    def noise(parts: float) -> float:
        """Bias less deviations of the index of a version at the bound, of samples with `parts` = 1/n + 1/k."""
        return freedom * parts - INDEX_DEVIATIONS * math.sqrt(4 * bound * parts + 2 * freedom * parts**2)

    parts = 1 + (min(here, there) / max(here, there) if min(here, there) else 1.0)
    enough = next(n for n in (1 << i for i in range(4, 40)) if bound + noise(parts / n) > freedom * parts / n)
    needed = next(n for n in range(enough // 2, enough + 1) if bound + noise(parts / n) > freedom * parts / n)
    if min(here, there) < needed:
        words = f"counted are those compared, one in {SAMPLED} of all"
        how = ""
        if min(candidate.requests, incumbent.requests) >= SAMPLED * 2 * needed and not min(here, there):
            words, how = "none of its answers holds anything to compare", "Set promotion.bounds.outputs to off"
        return [
            Finding("outputs", Decision.UNDECIDED, words, min(here, there), needed, how),
        ]
    if callers < FEWEST_CALLERS:
        words = f"its answers are of {callers:.0f} callers, of the {FEWEST_CALLERS} that tell versions from callers"
        how = "Set promotion.by to request, or promotion.bounds.outputs to off"
        return [Finding("outputs", Decision.UNDECIDED, words, how=how)]
    every = [side.outputs.sum(axis=0).tolist() for side in sides]
    seen = max(
        stability_index([float(c) for c in theirs], [float(c) for c in ours]) or 0.0 for ours, theirs in (every, left)
    )
    if seen <= bound + noise(1 / here + 1 / there):
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
            return Finding(bound, Decision.UNDECIDED, f"{count} answers are at or beyond the bound, but not certainly")
    low, high = times / 2, times
    while high - low > FORESEEN * high:
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return Finding(bound, Decision.UNDECIDED, answers=count, needed=math.ceil(count * high))
