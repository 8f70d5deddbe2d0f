"""What the other servers of a fleet have counted, added up as it is read.

Only counts of what this server counts too are unpacked, and only their sums are kept: what they take in memory grows
with the promotions that are under way here, and not with what the store holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from modelward.fleet.evidence import Heard, Key, OfStep, decoded
from modelward.fleet.record import Malformed
from modelward.fleet.store import KEPT_SECONDS, Told
from modelward.promotion.state import Promotion
from modelward.promotion.step import Sides
from modelward.shadow.pairs import Pairs

RECENT_SECONDS = 3.0
"""Of an older word the last seconds are none any more, and a canary that failed then may not fail now."""

LATEST_SECONDS = 15.0
"""Of an older answer the leader makes no step: twice what a fleet of hundreds takes on a busy machine, and more."""

Step = tuple[str, int, int]
"""Of a promotion: version, the epoch at which it began, index of the step."""
PAST = int(RECENT_SECONDS) + 1


class Gathered(Struct):
    """at: monotonic seconds at which the others were asked. asked: the step of each model that this server was at.
    steps: of models in that step, by the whole seconds since it was said, older ones all at PAST; with the age of the
    youngest. bad: servers whose word could not be read, and why."""

    at: float = 0.0
    asked: Mapping[str, Step] = field(default_factory=dict)
    steps: dict[str, tuple[Step, dict[int, tuple[float, Sides]]]] = field(default_factory=dict)
    pairs: dict[Key, Pairs] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)

    def added(self, model: str, promotion: Promotion, own: Sides, now: float) -> Sides:
        """With what is of the same step and at most KEPT_SECONDS old. now: monotonic seconds."""
        step, by_age = self.steps.get(model, (None, {}))
        if step != step_of(promotion):
            return own
        for age, seen in by_age.values():
            old = age + now - self.at
            if old <= KEPT_SECONDS:
                own += seen if old <= RECENT_SECONDS else _past(seen)
        return own

    def of_shadow(self, key: Key, files: str, now: float) -> list[Pairs]:
        """What was counted of a shadow with these files: one, or none."""
        pairs = self.pairs.get(key)
        return [pairs] if pairs is not None and pairs.files == files and now - self.at <= KEPT_SECONDS else []

    def knows(self, model: str, promotion: Promotion, now: float) -> bool:
        """Whether the others were asked of this step lately. Before, what this server has counted itself is no sum."""
        return self.asked.get(model) == step_of(promotion) and now - self.at <= LATEST_SECONDS

    def _hear(self, age: float, heard: Heard, steps: Mapping[str, Step], pairs: Mapping[Key, Pairs]) -> None:
        for model, (of, seen) in heard.steps.items():
            if step_of(of) == steps[model]:
                _, by_age = self.steps.setdefault(model, (steps[model], {}))
                second = PAST if age > RECENT_SECONDS else int(age)
                told = _past(seen) if second == PAST else seen
                youngest, total = by_age.get(second, (age, Sides()))
                by_age[second] = (min(youngest, age) if second == PAST else max(youngest, age)), total + told
        for key, each in heard.shadows.items():
            if each.files == pairs[key].files:
                self.pairs[key] = self.pairs[key] + each if key in self.pairs else each


def step_of(each: Promotion | OfStep) -> Step:
    return each.version, each.began, each.step


def gathered(
    told: Mapping[str, Told],
    promotions: Mapping[str, Promotion],
    pairs: Mapping[Key, Pairs],
    at: float,
    is_over: Callable[[], bool] = lambda: False,
) -> Gathered:
    """told: by server. promotions, pairs: what this server counts. is_over: whether no more is wanted. Takes some
    milliseconds for each server: for a thread."""
    steps = {model: step_of(each) for model, each in promotions.items()}
    found = Gathered(at, steps)
    for replica, each in told.items():
        if is_over():
            break
        try:
            found._hear(each.age, decoded(each.data, steps, pairs), steps, pairs)
        except Malformed as error:
            found.bad.append(f"{replica}: {error}")
    return found


def _past(seen: Sides) -> Sides:
    return replace(seen, here=replace(seen.here, failing=0), recent=None)
