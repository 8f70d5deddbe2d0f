"""What is known of the present step of a promotion: counts since then and before, and what follows from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from msgspec import Struct, field

from modelward.config.promotion import PromotionSettings
from modelward.promotion.decide import counted, findings
from modelward.promotion.finding import Decision, Finding
from modelward.promotion.guard import NOTHING, Arm, Breach, breaches, moved
from modelward.promotion.state import Promotion
from modelward_native.shadow.evidence import KEY

RECENT = 6  # looks that the last seconds are
FEWEST_EXPECTED = 20
"""Requests that a step's share should have brought, before it is said that they do not come."""


class Watched(Struct):
    """What is remembered of a promotion that is under way, and may be lost: counts at its last step, and at the one
    before."""

    stepped: Mapping[str, Arm]
    before: Mapping[str, Arm]
    recent: deque[Mapping[str, Arm]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Of this step: with other shares, the seconds before are not comparable."""

    def step(self, now: Mapping[str, Arm]) -> None:
        """The next step begins: its shares hold from now on."""
        self.before, self.stepped = self.stepped, now
        self.recent.clear()


class Sides(Struct, frozen=True):
    """What the version has answered in a step, and all others together at the same time: of one server, or added up.

    before: the others' since the step before, where that is asked; ever: all that is known of them, likewise. recent:
    of the last seconds, the version's and the others'; None before there are any.
    """

    here: Arm = NOTHING
    there: Arm = NOTHING
    before: Arm = NOTHING
    ever: Arm = NOTHING
    recent: tuple[Arm, Arm] | None = None

    def __add__(self, other: Sides) -> Sides:
        pairs = [each for each in (self.recent, other.recent) if each is not None]
        return Sides(
            self.here + other.here,
            self.there + other.there,
            self.before + other.before,
            self.ever + other.ever,
            (sum((h for h, _ in pairs), NOTHING), sum((t for _, t in pairs), NOTHING)) if pairs else None,
        )


def sides(promotion: Promotion, now: Mapping[str, Arm], watched: Watched, settings: PromotionSettings) -> Sides:
    """Of one server. now: counts of each version."""
    version = promotion.version
    here, there = both(version, now, watched.stepped)
    before = both(version, now, watched.before)[1] if promotion.percent == 100 else NOTHING
    seldom = before.requests < settings.min_requests if promotion.percent == 100 else not there.requests
    ever = both(version, now, {})[1] if seldom else NOTHING
    recent = both(version, now, watched.recent[0]) if watched.recent else None
    return Sides(here, there, before, ever, recent)


class Traffic(Struct, frozen=True):
    """Of one step. total: requests of all versions. callers: that are tied to a version; 0: many, or not known."""

    requests: int = 0
    total: int = 0
    callers: int = 0


def traffic(seen: Sides) -> Traffic:
    here, there = seen.here, seen.there
    return Traffic(here.requests, here.requests + there.requests, callers(here + there, tied=True))


def callers(arm: Arm, *, tied: bool = False) -> int:
    """How many parts of the hash of callers were seen: as many as callers while they are few; 0 where they are many.

    tied: only those whose requests all get one version.
    """
    ways = arm.ways()
    asked = [any(counts) for counts in zip(*(way.requests for way in (ways[KEY:] if tied else ways)), strict=True)]
    return 0 if all(asked) else sum(asked)


def judged(promotion: Promotion, seen: Sides, settings: PromotionSettings, *, early: bool = False) -> list[Breach]:
    """Why it is to be taken back: over the whole step, and over the last seconds of it.

    Against the others at the same time and with the same shares, so that what befalls all versions is no reason: over
    several steps an outage in a larger one would weigh on the version (Simpson's paradox). Where the others have
    nothing to answer any more, against what they did before. early: the step began less than FEW_WAIT ago.
    """
    here, usual = _of_step(promotion, seen, settings)
    if not usual.requests:
        usual = seen.ever
    reasons = breaches(here, usual, settings.bounds, steps=len(promotion.steps), early=early)
    if not reasons and seen.recent is not None:
        here, there = seen.recent
        reasons = breaches(here, there if there.requests else usual, settings.bounds, recent=True, early=early)
    return reasons


def answers_moved(promotion: Promotion, seen: Sides, settings: PromotionSettings) -> list[Breach]:
    """Whether the distribution of its answers in this step differs significantly from the others'."""
    here, there = _of_step(promotion, seen, settings)
    if here.requests < settings.min_requests:
        return []
    return moved(here, there, settings.bounds, len(promotion.steps))


def decided(promotion: Promotion, seen: Sides, settings: PromotionSettings) -> list[Finding]:
    """Of each bound, from the answers in this step; and whether its share of the requests comes."""
    here, there = _of_step(promotion, seen, settings)
    found = findings(here, there, settings.bounds)
    return [*found, _traffic(promotion, traffic(seen), counted(here), settings)]


def _of_step(promotion: Promotion, seen: Sides, settings: PromotionSettings) -> tuple[Arm, Arm]:
    """The version's answers in this step, and the others' at the same time; once it has everything, theirs since the
    step before, or where those are few, all that are known."""
    there = seen.there
    if promotion.percent == 100:
        there = seen.before if seen.before.requests >= settings.min_requests else seen.ever
    return seen.here, there


def _traffic(promotion: Promotion, seen: Traffic, count: int, settings: PromotionSettings) -> Finding:
    """count: of the requests those that count, without the callers that send most."""
    needed = settings.min_requests
    if count >= needed:
        return Finding("traffic", Decision.KEPT)
    expected = seen.total * promotion.percent // 100
    words = how = ""
    if expected >= FEWEST_EXPECTED and seen.requests < expected / 4:
        who = f" of {seen.callers} callers" if seen.callers and settings.by == "caller" else ""
        words = f"{promotion.percent} % of {seen.total} requests{who} should have brought {expected}"
        if settings.by == "caller":
            how = "Versions are given by caller: set promotion.by to request, or promote with larger --steps"
    elif count < needed <= seen.requests:
        words = f"of {seen.requests} requests these are without the callers that send most, who end no step alone"
        how = "Wait for other callers, or say why it may go on: --force --reason TEXT"
    return Finding("traffic", Decision.UNDECIDED, words, count, needed, how)


def both(version: str, now: Mapping[str, Arm], before: Mapping[str, Arm]) -> tuple[Arm, Arm]:
    """What the version has answered since then, and all others together."""
    since = {v: arm.since(before.get(v, NOTHING)) for v, arm in now.items()}
    return since.get(version, NOTHING), sum((arm for v, arm in since.items() if v != version), NOTHING)
