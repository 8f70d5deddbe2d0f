"""What there is to say of promotions under way: of each bound whether it is kept, and whether one is passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from modelward.config.promotion import PromotionSettings
from modelward.drift.cause import Cause
from modelward.promotion.asked import GOOD, PromotedServer
from modelward.promotion.callers import FEW_WAIT
from modelward.promotion.finding import Decision, Finding
from modelward.promotion.guard import Arm, Breach
from modelward.promotion.reach import reached
from modelward.promotion.state import Event, Promotion
from modelward.promotion.step import Sides, Traffic, Watched, answers_moved, decided, judged, sides, traffic

Merged = Callable[[str, Promotion, Sides], Sides]


class Known(Struct, frozen=True):
    """What is known of the last promotion of a model. findings: of the present step, as they were last looked at.
    judge: the server that judges it, by what all servers of a fleet have counted; empty where it is this one, and else
    findings and traffic are this one's own."""

    promotion: Promotion
    event: Event | None
    findings: tuple[Finding, ...] = ()
    traffic: Traffic | None = None
    by: str = "caller"
    judge: str = ""


class Judge:
    """Remembers what had been counted when each promotion and its present step began."""

    def __init__(self, server: PromotedServer, clock: Callable[[], float], merged: Merged) -> None:
        """merged: what other servers have counted too, added to what this one has."""
        self._server = server
        self._merged = merged
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self._found: dict[str, tuple[Finding, ...]] = {}

    def begin(self, model: str) -> None:
        """From now on everything counts for a promotion that has begun."""
        self.restart(model)
        self._found.pop(model, None)

    def restart(self, model: str) -> None:
        """What was known is of another file."""
        counted = self._server.arms(model)
        self._watched[model] = Watched(counted, counted)

    def step(self, model: str) -> None:
        """The next step has begun."""
        counted = self._server.arms(model)
        self._watching(model, counted).step(counted)
        self._found.pop(model, None)

    def follow(self, model: str, before: Promotion | None, after: Promotion) -> None:
        """Another server has changed the promotion."""
        if after.phase == "rolled back":
            self.end(model)
        elif before is None or before.began != after.began:
            self.begin(model)
        elif before.step != after.step:
            self.step(model)

    def end(self, model: str) -> None:
        self._watched.pop(model, None)
        self._found.pop(model, None)

    def remember(self, model: str, now: Mapping[str, Arm]) -> None:
        """What was counted at this look."""
        self._watched[model].recent.append(now)

    def known(self, model: str, promotion: Promotion) -> tuple[tuple[Finding, ...], Traffic] | None:
        """Findings as they were last looked at, and traffic as it is; None before the first look."""
        if model not in self._watched:
            return None
        return self._found.get(model, ()), self._traffic(self._sides(model, promotion, self._server.arms(model)))

    def own(self, model: str, promotion: Promotion) -> Sides:
        """What this server has counted in the present step."""
        now = self._server.arms(model)
        return sides(promotion, now, self._watching(model, now), self._settings(model))

    def breaches(self, model: str, promotion: Promotion, now: Mapping[str, Arm]) -> list[Breach]:
        """Bounds that the version has passed, of the first kind that has any."""
        settings, seen = self._settings(model), self._sides(model, promotion, now)
        return [
            *(
                judged(promotion, seen, settings, early=self._clock() - promotion.since < FEW_WAIT)
                or answers_moved(promotion, seen, settings)
                or self._as_a_shadow(model, promotion)
                or self._by_itself(model, promotion)
            )
        ]

    def findings(self, model: str, promotion: Promotion) -> list[Finding]:
        """Of every bound in this step, remembered for `known`."""
        seen = self._sides(model, promotion, self._server.arms(model))
        found = [*decided(promotion, seen, self._settings(model)), *self._verdict_of(model, promotion)]
        found += self._drift_of(model, promotion)
        if few := reached(model, promotion.percent, self._traffic(seen), self._settings(model)):
            found = [few if each.bound == "traffic" else each for each in found]
        self._found[model] = tuple(found)
        return found

    def _verdict_of(self, model: str, promotion: Promotion) -> list[Finding]:
        """It goes on being a shadow while it has a part of the requests."""
        verdict = self._server.verdict(model, promotion.version, promotion.before)
        if verdict is None:
            return []
        decision = Decision.KEPT if verdict in GOOD else Decision.UNDECIDED
        how = f"modelward shadow report {model} {promotion.version} tells what is missing"
        return [Finding("shadow", decision, f"the verdict is {verdict}", how="" if decision is Decision.KEPT else how)]

    def _as_a_shadow(self, model: str, promotion: Promotion) -> list[Breach]:
        version = promotion.version
        if self._server.verdict(model, version, promotion.before) != "worse":
            return []
        return [Breach("shadow", f"the verdict on its shadow is worse: modelward shadow report {model} {version}")]

    def _drift_of(self, model: str, promotion: Promotion) -> list[Finding]:
        drift = self._server.config.settings(model).drift
        if drift is None or not drift.gates_promotions:
            return []
        if self._server.drift(model, promotion.version) is not Cause.UNCLEAR:
            return [Finding("drift", Decision.KEPT)]
        words = (
            "its outputs have changed, and no other version has had enough requests since to tell whose change it is"
        )
        return [Finding("drift", Decision.UNDECIDED, words, how=f"modelward drift report --model {model} tells more")]

    def _by_itself(self, model: str, promotion: Promotion) -> list[Breach]:
        drift, version = self._server.config.settings(model).drift, promotion.version
        if drift is None or not drift.gates_promotions or self._server.drift(model, version) is not Cause.OWN:
            return []
        words = "its outputs have changed, and neither its inputs nor the outputs of the others have"
        return [Breach("drift", f"{words}: modelward drift report --model {model}")]

    def _traffic(self, seen: Sides) -> Traffic:
        found = traffic(seen)
        if self._server.config.sticky_header is not None:
            found = replace(found, callers=0)  # a caller's requests have many versions
        return found

    def _sides(self, model: str, promotion: Promotion, now: Mapping[str, Arm]) -> Sides:
        watched = self._watching(model, now)
        return self._merged(model, promotion, sides(promotion, now, watched, self._settings(model)))

    def _watching(self, model: str, now: Mapping[str, Arm]) -> Watched:
        return self._watched.setdefault(model, Watched(now, now))

    def _settings(self, model: str) -> PromotionSettings:
        return self._server.config.settings(model).promotion
