"""Promotes versions and takes them back: by hand, by itself after time and evidence, at once where one does worse."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from proxy.config.promotion import PromotionSettings, check_steps
from proxy.config.schema import Config
from proxy.config.units import SECOND, UnitError
from proxy.models.weights import primary
from proxy.problem import Problem, ProblemsFound
from proxy.promotion import state
from proxy.promotion.guard import NOTHING, Arm, Breach, breaches, moved
from proxy.promotion.state import Event, Promotion, Shares, State

log = logging.getLogger("modelward.promotion")

LOOK_SECONDS = 0.5
RECENT = 6  # looks that the last seconds are
GOOD = ("better", "equivalent")


@dataclass(frozen=True)
class Wanted:
    """steps: in per cent; None: as configured where `auto`, else all at once. auto: it goes on by itself.

    force: the reason why it is to be done against the verdict; empty: it is not.
    """

    model: str
    version: str
    steps: tuple[int, ...] | None = None
    auto: bool = False
    force: str = ""


class Serving(Protocol):
    """What serves: asked for what there is, and told which version gets what."""

    @property
    def config(self) -> Config:
        """As it was written."""

    def versions(self, model: str) -> tuple[str, ...]:
        """Those that are served, ascending."""

    def arms(self, model: str) -> Mapping[str, Arm]:
        """What each version has answered so far."""

    def verdict(self, model: str, version: str, shares: Shares) -> str | None:
        """On the shadow that this version is of the other one with the largest share; None where it is none."""

    async def share(self, shares: Mapping[str, Shares]) -> None:
        """From now on these models' requests are shared like this, whatever the configuration says."""


@dataclass
class Watched:
    """What is remembered of a promotion that is under way, and may be lost. Counts at that time: when it began, at its
    last step, and at the step before."""

    begun: Mapping[str, Arm]
    stepped: Mapping[str, Arm]
    before: Mapping[str, Arm]
    recent: deque[Mapping[str, Arm]] = field(default_factory=lambda: deque(maxlen=RECENT))


class Promoter:
    """Owns the state file in `folder`. Use `resume` before anything is served, then run `watch`."""

    def __init__(self, serving: Serving, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since 1970."""
        self._serving = serving
        self._folder = folder
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self._changing = asyncio.Lock()
        self.state = State()
        self.ended: Counter[tuple[str, str, str]] = Counter()
        """Promotions since the start, by model, outcome ("done", "rolled_back"), and of those the bound or "asked"."""

    def resume(self) -> None:
        """Goes on with what the file says. Raises ProblemsFound."""
        self.state = state.load(self._folder)

    def why(self, model: str) -> str:
        """What the last change of the model's promotion was made for; empty where nobody said."""
        return next((event.why for event in reversed(self.state.events) if event.model == model), "")

    @property
    def shares(self) -> dict[str, dict[str, int]]:
        """Of the models whose shares the configuration has no say in."""
        return {
            model: promotion.shares
            for model, promotion in self.state.promotions.items()
            if promotion.configured == self._configured(model)
        }

    async def promote(self, wanted: Wanted) -> Promotion:
        """Begins with the first step, or goes on to the next one of a promotion that is under way.

        Raises ProblemsFound, and then nothing has changed.
        """
        model, version = wanted.model, wanted.version
        async with self._changing:
            self._check(model, version)
            now = self._under_way(model)
            if now is None:
                return await self._begin(wanted)
            if now.version != version:
                how = f"modelward rollback {model}, then promote {version}"
                raise _refused(f"version {now.version} is being promoted at {now.percent} %", model, how)
            if now.step + 1 == len(now.steps):
                raise _has_all(model, version)
            return await self._go_on(model, now.model_copy(update={"auto": now.auto or wanted.auto}), wanted.force)

    async def rollback(self, model: str, why: str = "asked") -> Promotion:
        """Gives every version what it had before the promotion, or where there was none all to the next older version.

        Raises ProblemsFound, and then nothing has changed.
        """
        async with self._changing:
            promotion = self._known(model)
            if promotion is None:
                promotion = self._from_next_older(model)
            elif promotion.phase == "rolled back":
                raise _refused(
                    f"version {promotion.version} has been rolled back already", model, "Nothing is to be done"
                )
            return await self._take_back(model, promotion, "asked", why)

    async def watch(self) -> None:
        """Looks after promotions that are under way, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except ProblemsFound as found:  # the file: what is served goes on, and it is tried again
                for problem in found.problems:
                    log.error("%s", problem)
            except Exception:
                log.exception("a look at promotions failed")

    async def look(self) -> None:
        """Takes back what does worse, goes on with what has held. Raises ProblemsFound where that cannot be kept."""
        for model in [m for m in self.state.promotions if self._under_way(m) is not None]:
            async with self._changing:
                promotion = self._under_way(model)
                if promotion is not None:
                    await self._look_at(model, promotion)

    # ---- one promotion

    async def _look_at(self, model: str, promotion: Promotion) -> None:
        settings, now = self._settings(model), self._serving.arms(model)
        watched, version = self._watched.setdefault(model, Watched(now, now, now)), promotion.version
        reasons = (
            _judged(version, now, watched, settings)
            or _moved(promotion, now, watched, settings)
            or self._as_a_shadow(model, promotion)
        )
        watched.recent.append(now)
        if reasons:
            words = "; ".join(breach.words for breach in reasons)
            log.error("model %s version %s is taken back: %s", model, promotion.version, words)
            await self._take_back(model, promotion, reasons[0].bound, words)
            return
        held = self._clock() - promotion.since >= settings.hold / SECOND
        answered = _of(now, promotion.version).since(_of(watched.stepped, promotion.version)).requests
        if not held or answered < settings.min_requests:
            return
        if promotion.step + 1 == len(promotion.steps):
            await self._change(model, promotion.model_copy(update={"phase": "done"}), "promoted")
            self.ended[model, "done", ""] += 1
        elif promotion.auto:
            await self._go_on(model, promotion, "")

    def _as_a_shadow(self, model: str, promotion: Promotion) -> list[Breach]:
        """It goes on being one while it has a part of the requests."""
        version = promotion.version
        if promotion.forced or self._serving.verdict(model, version, promotion.before) != "worse":
            return []
        return [Breach("shadow", f"the verdict on its shadow is worse: modelward shadow report {model} {version}")]

    async def _begin(self, wanted: Wanted) -> Promotion:
        model, version = wanted.model, wanted.version
        steps, before = self._steps(wanted), self._present(model)
        if [v for v, share in before.items() if share] == [version]:
            raise _has_all(model, version)
        self._check_verdict(wanted, before)
        configured, now = self._configured(model), self._clock()
        promotion = Promotion(
            version=version,
            before=before,
            configured=configured,
            steps=steps,
            auto=wanted.auto,
            since=now,
            forced=bool(wanted.force),
        )
        counted = self._serving.arms(model)
        self._watched[model] = Watched(counted, counted, counted)
        return await self._change(model, promotion, f"{promotion.percent} %", wanted.force)

    async def _go_on(self, model: str, promotion: Promotion, force: str) -> Promotion:
        forced = promotion.forced or bool(force)
        after = promotion.model_copy(update={"step": promotion.step + 1, "forced": forced})
        counted = self._serving.arms(model)
        watched = self._watched.setdefault(model, Watched(counted, counted, counted))
        watched.before, watched.stepped = watched.stepped, counted
        return await self._change(model, after, f"{after.percent} %", force)

    async def _take_back(self, model: str, promotion: Promotion, bound: str, why: str) -> Promotion:
        """Served first: a file that cannot be written must not keep a bad version where it is."""
        after = promotion.model_copy(update={"phase": "rolled back", "since": self._clock()})
        self._watched.pop(model, None)
        self.state = self.state.with_promotion(model, after, self._event(model, after, "rolled back", why))
        self.ended[model, "rolled_back", bound] += 1
        log.warning("model %s version %s: rolled back", model, after.version)
        try:
            await self._serving.share(self.shares)
        finally:
            state.save(self._folder, self.state)
        return after

    async def _change(self, model: str, promotion: Promotion, what: str, force: str = "") -> Promotion:
        """Kept first: what a restart would not know of is not begun."""
        after = promotion.model_copy(update={"since": self._clock()})
        kept = self.state.with_promotion(model, after, self._event(model, after, what, force, forced=bool(force)))
        state.save(self._folder, kept)
        self.state = kept
        log.info("model %s version %s: %s%s", model, after.version, what, f", forced: {force}" if force else "")
        await self._serving.share(self.shares)
        return after

    def _event(self, model: str, promotion: Promotion, what: str, why: str, *, forced: bool = False) -> Event:
        at, version = self._clock(), promotion.version
        return Event(at=at, model=model, version=version, what=what, why=why, forced=forced)

    # ---- what there is

    def _known(self, model: str) -> Promotion | None:
        """The last one, unless the configuration has said something else since."""
        promotion = self.state.promotions.get(model)
        return promotion if promotion is not None and promotion.configured == self._configured(model) else None

    def _under_way(self, model: str) -> Promotion | None:
        promotion = self._known(model)
        return promotion if promotion is not None and promotion.phase == "stepping" else None

    def _configured(self, model: str) -> dict[str, int] | None:
        versions = self._serving.config.settings(model).versions
        return None if versions is None else dict(versions)

    def _present(self, model: str) -> dict[str, int]:
        known = self._known(model)
        if known is not None:
            return known.shares
        served = self._serving.versions(model)
        return self._configured(model) or {primary(served, None): 1}

    def _from_next_older(self, model: str) -> Promotion:
        served = self._serving.versions(model)
        if not served:
            raise _refused("there is no such model", model, "Look at modelward status")
        current = primary(served, self._present(model))
        if served.index(current) == 0:
            raise _refused(f"there is no older version than {current}", model, "Add one to the repository")
        older = served[served.index(current) - 1]
        configured = self._configured(model)
        return Promotion(version=current, before={older: 1}, configured=configured, steps=(100,), since=self._clock())

    def _settings(self, model: str) -> PromotionSettings:
        return self._serving.config.settings(model).promotion

    def _steps(self, wanted: Wanted) -> tuple[int, ...]:
        if wanted.steps is None:
            return self._settings(wanted.model).steps if wanted.auto else (100,)
        try:
            check_steps(wanted.steps)
        except UnitError as error:
            raise _refused(str(error), wanted.model, error.how) from error
        return wanted.steps

    def _check(self, model: str, version: str) -> None:
        served = self._serving.versions(model)
        if version not in served:
            what = f"version {version} is not served; {', '.join(served)} are" if served else "there is no such model"
            raise _refused(what, model, "Put it into the repository and look at modelward status")

    def _check_verdict(self, wanted: Wanted, before: Shares) -> None:
        model, version = wanted.model, wanted.version
        verdict = self._serving.verdict(model, version, before)
        if verdict in GOOD or wanted.force:
            return
        found = verdict or "not there: it is no shadow"
        look = f"modelward shadow report {model} {version} tells why"
        if verdict is None:
            look = f"Set models.{model}.shadow to {{version: {version}}} and wait for a good one"
        how = f"{look}; or say why it may be done without: --force --reason TEXT"
        raise _refused(f"the verdict on version {version} is {found}", model, how)


def _judged(version: str, now: Mapping[str, Arm], watched: Watched, settings: PromotionSettings) -> list[Breach]:
    """Why it is to be taken back: over the whole time, and over the last seconds.

    Against the others at the same time, so that what befalls all versions is no reason; where they have nothing to
    answer any more, against what they did before.
    """
    ever = _both(version, now, {})[1]
    here, there = _both(version, now, watched.begun)
    usual = there if there.requests else ever
    reasons = breaches(here, usual, settings.bounds)
    if not reasons and watched.recent:
        here, there = _both(version, now, watched.recent[0])
        reasons = breaches(here, there if there.requests else usual, settings.bounds, recent=True)
    return reasons


def _moved(promotion: Promotion, now: Mapping[str, Arm], watched: Watched, settings: PromotionSettings) -> list[Breach]:
    """Whether its answers in this step are surely distributed otherwise than the others' at the same time; once it has
    everything, than theirs since the step before, or where those are few, than all that are known."""
    here, there = _both(promotion.version, now, watched.stepped)
    if here.requests < settings.min_requests:
        return []
    if promotion.percent == 100:
        there = _both(promotion.version, now, watched.before)[1]
        if there.requests < settings.min_requests:
            there = _both(promotion.version, now, {})[1]
    return moved(here, there, settings.bounds, len(promotion.steps))


def _both(version: str, now: Mapping[str, Arm], before: Mapping[str, Arm]) -> tuple[Arm, Arm]:
    """What the version has answered since then, and all others together."""
    since = {v: arm.since(_of(before, v)) for v, arm in now.items()}
    return since.get(version, NOTHING), sum((arm for v, arm in since.items() if v != version), NOTHING)


def _of(arms: Mapping[str, Arm], version: str) -> Arm:
    return arms.get(version, NOTHING)


def _has_all(model: str, version: str) -> ProblemsFound:
    return _refused(f"version {version} has all requests already", model, "Nothing is to be done")


def _refused(what: str, model: str, how: str) -> ProblemsFound:
    return ProblemsFound([Problem(what, f"model {model}", how=how)])
