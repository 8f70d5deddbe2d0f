"""Whether requests of a version do significantly worse than those of others; no single caller decides that.

A caller is a part of a keyed hash of identities, or of peer addresses where there is no identity (shadow/evidence.pyx).
Each caller's requests are a bet against "they do not do worse", whose wealth is an e-process
(modelward/shadow/sequence.py): the lesser of two, so that it grows only where both do.

- Against the usual: that their share is at most what the caller has with the others, or where that is not known, what
  callers have with them, and a rise that is allowed.
- Within the caller: of what failed, the version's part is at most its part of the caller's requests. Who sends what
  fails on every version says nothing against one.

Wealth is multiplied over callers: what others send cannot make a caller's less. In the product each counts as a mixture
of its wealth and 1, so that callers without any failure cost next to nothing. It must be large, and still be so, at
`ALONE_LEVEL`, without the callers who say most: `left_out` of them. So of callers that are no more than that, none is
believed alone, whatever they send; as long as the others' requests do no worse, these may take a version back with a
probability of at most ALONE_LEVEL. There is one way beside: callers that say so and send half of what all send, in the
same proportion to all versions, which no caller does that aims at one.

A client that aims can be the first to reach the version. So one or two callers whom keys gave it say nothing at first
(`FEW_WAIT`), unless there are no others at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, sqrt
from typing import TYPE_CHECKING

from msgspec import Struct

from modelward.shadow.callers import FEW, HALF, left_out
from modelward.shadow.sequence import mean_evidence

if TYPE_CHECKING:
    from modelward.promotion.parts import Counts

ALONE_LEVEL = 0.05
FEW_WAIT = 30.0
"""Seconds of a step until one or two callers are believed that keys gave the version: others would have come."""
BELIEFS = (1 / 2, 1 / 16)
"""Parts of the callers that may be hit: a product for each, and their mean is what counts."""


class Compared(Struct, frozen=True):
    """Counts of one caller. here: requests to the version; there: to others. some_*: of them those that failed or were
    slow."""

    some_here: int
    here: int
    some_there: int
    there: int
    usual: float
    """The share that is allowed, by what the others usually have."""

    @property
    def evidence(self) -> float:
        """Logarithm of the wealth of a bet that this caller's requests do not do worse."""
        some = min(self.some_here, self.here)
        against_usual = mean_evidence(some, self.here, min(self.usual, 1.0))
        failed = some + self.some_there
        if not self.there or not failed:
            return against_usual
        within = mean_evidence(some, failed, self.here / (self.here + self.there))
        return min(against_usual, within)


def significantly_worse(
    callers: Sequence[Compared], level: float, *, aimed: bool, early: bool = False
) -> list[Compared]:
    """The callers with evidence of it; none where it is not significant.

    aimed: a client can choose which version its requests get. early: other callers are still expected, so one or two
    callers are not believed.
    """
    if aimed and early and len(callers) <= FEW:
        return []
    seen = sorted((caller for caller in callers if caller.here), key=lambda each: each.evidence, reverse=True)
    said = [caller.evidence for caller in seen]
    if _together(said) < -log(level):
        return []
    alone = -log(ALONE_LEVEL)
    believed = [caller for caller, evidence in zip(seen, said, strict=True) if evidence >= alone]
    enough = not (skipped := left_out(len(seen))) or _together(said[skipped:]) >= alone
    return (believed or seen[:1]) if enough or share(believed, seen, aimed=aimed) >= HALF else []


def _together(said: Sequence[float]) -> float:
    """Logarithm of the wealth of all."""
    if len(said) <= 1:
        return said[0] if said else -inf
    sums = [sum(_mixed(evidence, belief) for evidence in said) for belief in BELIEFS]
    most = max(sums)
    return most + log(sum(exp(each - most) for each in sums) / len(BELIEFS))


def _mixed(evidence: float, belief: float) -> float:
    """log(1 - belief + belief * exp(evidence)), whatever its size."""
    if evidence > 0:
        return evidence + log(belief + (1 - belief) * exp(-evidence))
    return log(1 - belief + belief * exp(evidence))


def share(some: Sequence[Compared], every: Sequence[Compared], *, aimed: bool) -> float:
    """Of all requests, what these callers send to all versions in like proportion."""
    here, there = sum(caller.here for caller in every), sum(caller.there for caller in every)
    if there:
        return sum(min(caller.here / here, caller.there / there) for caller in some)
    return 0.0 if aimed else sum(caller.here for caller in some) / here


def risen(callers: Sequence[Compared], usual: float) -> float:
    """How much larger the share is than it would be with the others: of requests, or of callers where that is more.

    What one caller has more, another's having less does not make up for. usual: the others' share, of a caller who asks
    none of them.
    """
    more = [max(0.0, c.some_here / c.here - (c.some_there / c.there if c.there else usual)) for c in callers]
    of_requests = sum(m * c.here for m, c in zip(more, callers, strict=True)) / sum(c.here for c in callers)
    return max(of_requests, sum(more) / len(more))


def at_most(some: float, of: float, level: float) -> float:
    """An upper bound of a share, in closed form: a bound of Bernstein's kind, with a mixture's cost."""
    if not of:
        return 1.0
    seen, cost = some / of, (log(of + 1) / 2 - log(level)) / of
    return min(1.0, seen + sqrt(2 * seen * (1 - seen) * cost) + 3 * cost)


def untypical(some: Counts, of: Counts) -> list[int]:
    """The callers who have the largest shares: as many as may not decide."""
    counts = list(zip(some.tolist(), of.tolist(), strict=True))
    seen = sorted(
        (caller for caller, (_, n) in enumerate(counts) if n), key=lambda each: counts[each][0] / counts[each][1]
    )
    return seen[len(seen) - left_out(len(seen)) :]


def typical(some: Counts, of: Counts) -> tuple[int, int]:
    """Sums without these callers."""
    apart = untypical(some, of)
    return int(some.sum() - some[apart].sum()), int(of.sum() - of[apart].sum())


def without_most(counts: Counts) -> list[int]:
    """The callers that are left without those who count most: as many are left out as may not decide."""
    seen = [(int(n), caller) for caller, n in enumerate(counts.tolist()) if n]
    return [caller for _, caller in sorted(seen)[: len(seen) - left_out(len(seen))]]
