"""What a shadow's sums say of it: better, equivalent, worse, or undecided and for how many pairs more.

An operator who looks, however often, is told `worse` of a shadow that keeps every bound with a probability of at most
LEVEL, ever: each bound is judged by a confidence sequence, and the level is shared between them. What the sequences
assume: pairs are alike and independent of each other, given those before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

from msgspec import Struct

from modelward.config.shadow import Bounds
from modelward.shadow.callers import held, left_out
from modelward.shadow.quantile import estimate, quantile_interval, ratio
from modelward.shadow.sequence import Interval, difference_interval, mean_interval
from modelward_native.telemetry.histogram import EDGES

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums
from modelward.shadow.finding import Finding, Verdict, pairs

LEVEL = 0.05


LATENCY_QUANTILE = 0.95  # bounds.latency is the ratio of both sides'


MOST_PAIRS = 1e12  # beyond, it is said that these rates will never decide: 3 years of 10,000 a second


UPPER_EDGES = (*(float(edge) for edge in EDGES[:-1]), inf)


class Judgement(Struct, frozen=True):
    """The verdict, what it follows from, and of how many pairs. more: pairs after which an undecided shadow would be
    decided if rates stay what they are; None where it is decided, or where they would never do."""

    verdict: Verdict
    pairs: int
    findings: tuple[Finding, ...]
    more: int | None


def judge(
    sums: Sums, bounds: Bounds, *, floor: Sums | None = None, itself: bool = False, callers: Sequence[Sums] = ()
) -> Judgement:
    """Judges a shadow by its sums.

    floor: sums of a shadow of the primary's own version, whose disagreement is the noise that every other shadow's is
    measured above. itself: these sums are such a shadow's, which disagreement cannot judge. callers: what the sums are
    of by part of the callers; without them, all are one caller's.
    """
    judged = _Judged(bounds, floor, itself, callers)
    findings = tuple(judged.held(sums))
    verdict = _together(findings)
    undecided = verdict is Verdict.UNDECIDED and _together(tuple(judged.findings(sums, 1.0))) is verdict
    return Judgement(verdict, pairs(sums), findings, judged.more(sums) if undecided else None)


def verdict_of(
    sums: Sums, bounds: Bounds, *, floor: Sums | None = None, itself: bool = False, callers: Sequence[Sums] = ()
) -> Verdict:
    """The verdict of `judge` alone: about 1 ms, three of many callers, where to foresee how many pairs are missing
    takes ten times as long."""
    return _together(tuple(_Judged(bounds, floor, itself, callers).held(sums)))


def _together(findings: Sequence[Finding]) -> Verdict:
    """Nothing judged is nothing decided."""
    verdicts = {finding.verdict for finding in findings}
    for verdict in (Verdict.WORSE, Verdict.UNDECIDED, Verdict.BETTER, Verdict.EQUIVALENT):
        if verdict in verdicts:
            return verdict
    return Verdict.UNDECIDED


class _Judged(Struct, frozen=True):
    """How sums are judged, for as many times of them as are asked for."""

    bounds: Bounds
    floor: Sums | None
    itself: bool
    callers: Sequence[Sums]

    def held(self, sums: Sums) -> Iterator[Finding]:
        """Findings that no few callers decide."""
        for place, found in enumerate(self.findings(sums, 1.0)):

            def again(other: Sums, place: int = place) -> Finding:
                return tuple(self.findings(other, 1.0))[place]

            yield held(found, sums, self.callers, again)

    def findings(self, sums: Sums, times: float) -> Iterator[Finding]:
        disagreement = None if self.itself else self.bounds.disagreement
        errors, latency = self.bounds.errors, self.bounds.latency
        level = LEVEL / max(sum(bound is not None for bound in (disagreement, errors, latency)), 1)
        if left_out(len(self.callers)):
            level /= 2  # both the whole and what is left of it may find a bound broken
        if disagreement is not None:
            yield self._disagreement(sums, times, disagreement, level)
        if errors is not None:
            yield _errors(sums, times, errors, level)
        if latency is not None:
            yield _latency(sums, times, latency, level)

    def _disagreement(self, sums: Sums, times: float, bound: float, level: float) -> Finding:
        noise = Interval(0.0, 0.0)
        if self.floor is not None:
            level /= 2  # between the shadow's interval and the floor's
            noise = mean_interval(self.floor["disagreement"] * times, self.floor["compared"] * times, level)
        total, count = sums["disagreement"], sums["compared"]
        interval = mean_interval(total * times, count * times, level)
        value = total / count if count else None
        return Finding("disagreement", value, interval, bound + noise.low, bound + noise.high, None)

    def more(self, sums: Sums) -> int | None:
        """Doubled until it is decided, then halved to a percent; the floor's pairs come as the shadow's do."""
        count = pairs(sums)
        undecided, decided = 1.0, 2.0
        while count == 0 or not self._decides(sums, decided):
            undecided, decided = decided, decided * 2
            if count == 0 or count * decided > MOST_PAIRS:
                return None
        while decided > undecided * 1.01:
            middle = (undecided * decided) ** 0.5
            undecided, decided = (undecided, middle) if self._decides(sums, middle) else (middle, decided)
        return round(count * (decided - 1.0)) + 1

    def _decides(self, sums: Sums, times: float) -> bool:
        return _together(tuple(self.findings(sums, times))) is not Verdict.UNDECIDED


def _errors(sums: Sums, times: float, bound: float, level: float) -> Finding:
    count, ours, theirs = pairs(sums), sums["primary_failed"], sums["shadow_failed"]
    interval = difference_interval(ours * times, theirs * times, count * times, level)
    return Finding("errors", (theirs - ours) / count if count else None, interval, bound, bound, 0.0)


def _latency(sums: Sums, times: float, bound: float, level: float) -> Finding:
    q = LATENCY_QUANTILE
    sides = (sums["latency_shadow"], sums["latency_primary"])
    theirs, ours = (quantile_interval([n * times for n in side], UPPER_EDGES, q, level / 2) for side in sides)
    shadow, primary = (estimate(side, UPPER_EDGES, q) for side in sides)
    value = shadow / primary if shadow and primary and max(shadow, primary) < inf else None
    return Finding("latency", value, ratio(theirs, ours), bound, bound, 1.0)
