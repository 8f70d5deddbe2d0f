"""What is found of a shadow, compared with what its callers say: no few of them decide a verdict, whatever they send.

Callers are parts of a keyed hash of identities, or of peer addresses where there is no identity (shadow/evidence.pyx).
Left out are, at each end, a tenth of them, at least one where there are three: those with whom the shadow does
worst, and those with whom it does best. A bound is broken where it is broken without both, or where those with whom
it does worst send half of all pairs. It is kept where it is kept by all pairs, and not broken without those with whom
it does best, whose pairs may be many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from modelward.shadow.finding import Finding, Verdict, pairs

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums

Judge = Callable[["Sums"], "Finding"]

FEW = 2
"""With this many callers or fewer none is left out: to find a version worse is the safe side."""
TENTH = 10
HALF = 0.5


def left_out(callers: int) -> int:
    """How many of the callers may be left out: that few decide nothing about a version."""
    return 0 if callers <= FEW else max(1, callers // TENTH)


def held(found: Finding, total: Sums, callers: Sequence[Sums], judge: Judge) -> Finding:
    """The finding on one bound, or what is left of it. judge: of other sums by the same bound."""
    skipped = left_out(len(callers))
    if not skipped:
        return found
    order = sorted(callers, key=_BADNESS[found.name], reverse=True)
    worst, best = order[:skipped], order[-skipped:]
    without_both = judge(_without(total, [*worst, *best])).verdict
    if found.verdict is Verdict.WORSE:
        many = sum(map(pairs, worst)) >= HALF * pairs(total)
        return found if many or without_both is Verdict.WORSE else replace(found, held=Verdict.UNDECIDED)
    if without_both is Verdict.WORSE:
        return replace(found, held=Verdict.WORSE)
    if found.verdict is not Verdict.UNDECIDED and judge(_without(total, best)).verdict is Verdict.WORSE:
        return replace(found, held=Verdict.UNDECIDED)
    return found


def _disagreement(sums: Sums) -> float:
    return sums["disagreement"] / max(sums["compared"], 1)


def _errors(sums: Sums) -> float:
    count = sums["compared"] + sums["primary_failed"] + sums["shadow_failed"] + sums["both_failed"]
    return (sums["shadow_failed"] - sums["primary_failed"]) / max(count, 1)


def _latency(sums: Sums) -> float:
    """By how many cells of the histogram, which are ratios of latencies, the shadow is slower in the mean."""
    both = enumerate(zip(sums["latency_shadow"], sums["latency_primary"], strict=True))
    return sum(cell * (theirs - ours) for cell, (theirs, ours) in both) / max(sums["compared"], 1)


_BADNESS: dict[str, Callable[[Sums], float]] = {
    "disagreement": _disagreement,
    "errors": _errors,
    "latency": _latency,
}


def _without(total: Sums, callers: Sequence[Sums]) -> Sums:
    """What verdicts are made of, without these callers'. Counters are read while pairs end."""

    def left(of: int, given: Sequence[int]) -> int:
        return max(of - sum(given), 0)

    compared = left(total["compared"], [each["compared"] for each in callers])
    disagreement = total["disagreement"] - sum(each["disagreement"] for each in callers)
    return {
        **total,
        "compared": compared,
        "disagreement": min(max(disagreement, 0.0), float(compared)),
        "primary_failed": left(total["primary_failed"], [each["primary_failed"] for each in callers]),
        "shadow_failed": left(total["shadow_failed"], [each["shadow_failed"] for each in callers]),
        "both_failed": left(total["both_failed"], [each["both_failed"] for each in callers]),
        "latency_primary": [
            left(n, given)
            for n, *given in zip(total["latency_primary"], *(each["latency_primary"] for each in callers), strict=True)
        ],
        "latency_shadow": [
            left(n, given)
            for n, *given in zip(total["latency_shadow"], *(each["latency_shadow"] for each in callers), strict=True)
        ],
    }
