"""Promotes versions and takes them back: by hand, by itself after time and evidence, at once where one does worse."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import structs

from modelward.audit.recorder import NoTrail, Recorder
from modelward.config.promotion import PromotionSettings
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import (
    PromotedServer,
    Wanted,
    check,
    check_reason,
    configured,
    percent_of,
    steps_from_here,
    steps_of,
)
from modelward.promotion.baseline import Baseline
from modelward.promotion.finding import undecided
from modelward.promotion.fleet import Alone, Fleet, taken_back_after
from modelward.promotion.guard import NOTHING, Arm
from modelward.promotion.judge import Judge, Known
from modelward.promotion.notes import Unanswered, answered, notes, on_upstreams, out_of_service, tell, tell_new
from modelward.promotion.reach import too_few
from modelward.promotion.records import decided, followed
from modelward.promotion.standing import Standing
from modelward.promotion.state import ITSELF, LONGEST_REASON, Event, Promotion, State
from modelward.promotion.step import Sides, callers
from modelward.promotion.store import Store
from modelward.promotion.unpromoted import expected, recorded_shares, when_lost
from modelward.repository.refused import Refused

log = logging.getLogger("modelward.promotion")

LOOK_SECONDS = 0.5
GOES_ON = "goes on by itself"


class Promoter:
    """Owns the state file in `folder`. Use `load` and `resume` before anything is served, then run `watch`."""

    def __init__(self, server: PromotedServer, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since 1970."""
        self._server = server
        self._clock = clock
        self._standing = Standing(server, lambda: self.state, lambda: self.shares)
        self.held, self.models = self._standing.held, self._standing.models
        self.fleet: Fleet = Alone()  # set between `load` and `resume`
        self._judge = Judge(server, clock, lambda *step: self.fleet.merged(*step))  # noqa: PLW0108 - it is set later
        self._baseline = Baseline(server, clock)
        self._unanswered = Unanswered(server, clock)
        self._expected: dict[str, str] = {}  # by model the version that answers until `settle` writes it down
        self._on_upstreams: Mapping[str, tuple[str, ...]] = {}
        self._changing = asyncio.Lock()
        self.store = Store(folder, clock)
        self.state = State()
        self.recorder: Callable[[], Recorder] = NoTrail
        """Told what is decided here; what operators ask for is recorded where they ask."""
        self.ended: Counter[tuple[str, str, str]] = Counter()
        """Promotions since the start, by model, outcome ("done", "rolled_back"), and of those the bound or "asked"."""

    def load(self) -> None:
        """Before what a fleet knows comes upon it. Raises ProblemsFound."""
        self.state = self.store.load()

    def resume(self, there: Callable[[], Mapping[str, tuple[str, ...]]] = dict) -> None:
        """Goes on with what was loaded or, where that is lost, as `when_lost` says. there: versions by model."""
        listed, config = there(), self._server.config
        if self.store.lost:
            older, event = when_lost(self._server, self.state, listed, self._clock())
            self.recorder().note(decided(event))
            self._keep(self.state.with_serving(older, event))
        self._join()
        self.expect(config, listed)

    def _join(self) -> None:
        if (joined := self.fleet.joined(self.state)) != self.state:
            self._keep(joined)

    def expect(self, config: Config, there: Mapping[str, tuple[str, ...]]) -> None:
        """Before each start and reload, so that no version that waits answers meanwhile. config: that is to be
        followed. there: versions by model."""
        shares, self._expected = self.shares, {}
        self._expected = expected(self._server, config, self.state, there, shares)

    def settle(self) -> None:
        """Of models whose new versions wait for a promotion, notes who answers now. After each start and reload."""
        self._join()
        config, server = self._server.config, self._server
        served = {m: server.versions(m) for m in server.models() if server.facts(m) and m not in self._expected}
        late = {m: v[0] for m, v in served.items() if m in expected(server, config, self.state, served, {})}
        fresh = {m: v for m, v in self._expected.items() if v in server.versions(m) and server.facts(m)} | late
        if fresh:
            self._expected = {m: v for m, v in self._expected.items() if m not in fresh}
            why = f"no promotion is on record: {answered(server, self.state, fresh)}"[:LONGEST_REASON]
            event = Event(at=self._clock(), what="answered until one is promoted", actor=ITSELF, why=why)
            self.recorder().note(decided(event))
            self._keep(self.state.with_serving(fresh, event))
        if (after := self._baseline.settled(self.state, self.shares, self.recorder(), self.fleet.joined)) != self.state:
            self._keep(after)
            self._join()  # what others have approved
        tell(server, self.state, {**self._expected, **fresh}, self.shares)
        self._unanswered.look(self.state, self._waiting, self.shares)
        self._on_upstreams = on_upstreams(server)

    async def _follow_upstreams(self) -> None:
        """They have models or versions that were not there before."""
        if (found := on_upstreams(self._server)) == self._on_upstreams:
            return
        for model, versions in found.items():
            if new := [version for version in versions if version not in self._on_upstreams.get(model, ())]:
                tell_new(self._server, self.state, model, new)
        before = self.shares, self.state.approved
        self.settle()
        if (self.shares, self.state.approved) != before:
            await self._server.share(self.shares)

    @property
    def notes(self) -> tuple[str, ...]:
        """For READY: models that no version answers, and versions that wait."""
        waits = notes(self._server, self.state, self._waiting, self.shares)
        return tuple(map(str, [*waits, *self._baseline.notes]))

    @property
    def refused(self) -> list[Refused]:
        """For the status: what no version answers, and what waits though `versions:` names it."""
        return out_of_service(self._server, self.state, self._waiting, self.shares)

    @property
    def _waiting(self) -> dict[str, str]:
        """By model the version that has all requests until one is promoted."""
        return {**self._expected, **self.state.serving}

    def note(self, what: str, actor: str, why: str = "", *, kept: bool = True) -> None:
        """Something else was asked for. kept: written now; else with what is written next, as no operator waits."""
        state = self.state.with_event(Event(at=self._clock(), what=what, actor=actor, why=why[:LONGEST_REASON]))
        if kept:
            self._keep(state)
        else:
            self.state = state

    def known(self, model: str) -> Known:
        """Of a model that has been promoted."""
        promotion, by = self.state.promotions[model], self._settings(model).by
        event = self.state.last_event(model, but=GOES_ON)  # it tells why the step was done
        known = self._judge.known(model, promotion) if self._standing.under_way(model) is not None else None
        if known is None:
            return Known(promotion, event, by=by)
        return Known(promotion, event, *known, by, self.fleet.judge)

    def too_few_callers(self, model: str) -> list[Problem]:
        """Whether the callers so far are too few for the share of the present step."""
        seen = callers(sum(self._server.arms(model).values(), NOTHING))
        return too_few(self._server.config, model, self.state.promotions[model].percent, seen)

    @property
    def shares(self) -> dict[str, dict[str, int]]:
        """Of the models whose shares the configuration has no say in."""
        state = self.state if self.fleet.alone else self._standing.held_back()
        recorded = recorded_shares(self._server.config, state)
        return {**recorded, **{m: {v: 1} for m, v in self._expected.items()}}

    async def promote(self, wanted: Wanted) -> Promotion:
        """Begins with the first step, or goes on to the next one of a promotion that is under way.

        Raises ProblemsFound, and then nothing has changed.
        """
        async with self._changing:
            await self.fleet.gather()
            now = self.check(wanted)
            return await (self._begin(wanted) if now is None else self._ask_on(now, wanted))

    def check(self, wanted: Wanted) -> Promotion | None:
        """What is under way. Raises ProblemsFound where it would be refused whatever is counted until it is done."""
        now = self._standing.under_way(wanted.model)
        check(self._server, wanted, now, self._standing.answering)
        return now

    def percent(self, wanted: Wanted) -> tuple[int, int]:
        """Share that the version has, and that it has once this is done."""
        return percent_of(self._server, wanted, self._standing.under_way(wanted.model), self._standing.answering)

    async def rollback(self, model: str, why: str = "", actor: str = "", proposal: int = 0) -> Promotion:
        """Gives every version what it had before the promotion, or where there was none all to the next older version.
        Where no version would answer then, it is refused.

        Done even where it cannot be written: `store.unsaved`. Raises ProblemsFound, and then nothing has changed.
        """
        async with self._changing:
            check_reason(model, why)
            promotion = self._standing.to_take_back(model, self._clock())
            promotion = structs.replace(promotion, proposal=proposal)
            return await self._take_back(model, promotion, "asked", why, actor)

    async def watch(self) -> None:
        """Looks after promotions that are under way, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.store.retry()
                self._unanswered.look(self.state, self._waiting, self.shares)
                await self._follow_upstreams()
                await self.look()
            except ProblemsFound as found:  # the file: what is served goes on, and it is tried again
                for problem in found.problems:
                    log.error("%s", problem)
            except Exception:
                log.exception("a look at promotions failed")

    async def look(self) -> None:
        """Takes back what does worse, goes on with what has held. Raises ProblemsFound where that cannot be kept."""
        for model in [m for m in self.state.promotions if self._standing.under_way(m) is not None]:
            async with self._changing:
                promotion = self._standing.under_way(model)
                if promotion is not None:
                    await self._look_at(model, promotion)

    # ---- what the other servers of a fleet have done, and are told

    async def follow(self, model: str, change: Callable[[State], State]) -> None:
        """Another server has decided. change: gives the state with that, or the same where it is older."""
        async with self._changing:
            before, kept = self.state.promotions.get(model), change(self.state)
            if kept == self.state:
                return
            self._keep(kept)
            if (after := kept.promotions.get(model)) is not None and not after.is_as(before):
                self._judge.follow(model, before, after)
                log.warning("model %s version %s: %s, as the fleet has it", model, after.version, after.words)
                self.recorder().note(followed(model, before, after, kept.events[-1]))
            await self._server.share(self.shares)

    def counted(self) -> dict[str, tuple[Promotion, Sides]]:
        """By model that is promoted, what this server has counted in the present step."""
        under_way = {m: p for m, p in self.state.promotions.items() if p.phase == "stepping" and not self.held(m)}
        return {model: (promotion, self._judge.own(model, promotion)) for model, promotion in under_way.items()}

    # ---- one promotion

    async def _look_at(self, model: str, promotion: Promotion) -> None:
        if self.fleet.alone and (again := self._standing.begun_again(model, promotion)) is not None:
            self._judge.restart(model)
            await self._change(model, again[0], f"{again[0].percent} %", ITSELF, again[1])
            return
        now = self._server.arms(model)
        if not self.fleet.judge and await self._fails(model, promotion, now):
            return
        open_ = undecided(self._judge.findings(model, promotion))
        self._judge.remember(model, now)
        held = self._clock() - promotion.since >= self._settings(model).hold / SECOND
        if open_ or not held or not self.fleet.may_advance(model, promotion):
            return
        if promotion.step + 1 == len(promotion.steps):
            await self._finish(model, promotion, ITSELF, "every bound is kept")
        elif promotion.auto:
            await self._go_on(model, promotion, ITSELF, "every bound is kept")

    async def _fails(self, model: str, promotion: Promotion, now: Mapping[str, Arm]) -> str:
        """Takes it back where it does worse, and says why. Before a step ends too: its stats end with it."""
        reasons = self._judge.breaches(model, promotion, now)
        words = "; ".join(breach.words for breach in reasons)
        if reasons:
            log.error("model %s version %s is taken back: %s", model, promotion.version, words)
            await self._take_back(model, promotion, reasons[0].bound, words[:LONGEST_REASON], ITSELF)
        return words

    async def _begin(self, wanted: Wanted) -> Promotion:
        model, version = wanted.model, wanted.version
        steps, before = steps_of(self._server, wanted), self._standing.answering(model)
        promotion = Promotion(
            version=version,
            before=before,
            configured=configured(self._server, model),
            steps=steps,
            auto=wanted.auto,
            since=self._clock(),
            forced=bool(wanted.force),
            digests=self._standing.hashes(model, version, before),
            without=wanted.without,
            proposal=wanted.proposal,
        )
        promotion = await self._change(model, promotion, f"{promotion.percent} %", wanted.actor, wanted.why)
        self._judge.begin(model)
        return promotion

    async def _ask_on(self, promotion: Promotion, wanted: Wanted) -> Promotion:
        """The next step, by hand; with `auto` when it is due."""
        model = wanted.model
        steps = steps_from_here(self._server, promotion, wanted)
        update = {
            "steps": steps,
            "auto": promotion.auto or wanted.auto,
            "without": tuple(sorted({*promotion.without, *wanted.without})),
            "proposal": wanted.proposal,
        }
        after = structs.replace(promotion, **update)
        if wanted.auto and not wanted.force:
            return await self._change(model, after, GOES_ON, wanted.actor, wanted.why, since=promotion.since)
        if found := await self._fails(model, promotion, self._server.arms(model)):
            how = "Look at its answers, mend it, and promote it again"
            raise ProblemsFound([Problem(f"version {promotion.version} is taken back", f"model {model}", found, how)])
        findings = undecided(self._judge.findings(model, promotion))
        open_ = [each for each in findings if each.bound != "traffic"]
        if open_ and not wanted.force:
            what = f"{promotion.percent} % of the requests have not shown yet that it keeps every bound"
            how = "Wait, or say why it may go on without that: --force --reason TEXT"
            if stuck := [each for each in findings if each.bound == "traffic" and each.how]:
                open_, how = [*stuck, *open_], f"{stuck[0].how}; or say why it may go on: --force --reason TEXT"
            raise ProblemsFound([Problem(what, f"model {model}", "; ".join(map(str, open_)), how)])
        if promotion.step + 1 == len(steps):
            return await self._finish(model, after, wanted.actor, wanted.why, forced=bool(wanted.force))
        return await self._go_on(model, after, wanted.actor, wanted.why, forced=bool(wanted.force))

    async def _go_on(
        self, model: str, promotion: Promotion, actor: str, why: str, *, forced: bool = False
    ) -> Promotion:
        after = structs.replace(promotion, step=promotion.step + 1, forced=forced)
        changed = await self._change(model, after, f"{after.percent} %", actor, why)
        self._judge.step(model)
        return changed

    async def _finish(
        self, model: str, promotion: Promotion, actor: str, why: str, *, forced: bool = False
    ) -> Promotion:
        done = structs.replace(promotion, phase="done", forced=forced)
        after = await self._change(model, done, "promoted", actor, why)
        self.ended[model, "done", ""] += 1
        return after

    async def _take_back(self, model: str, promotion: Promotion, bound: str, why: str, actor: str) -> Promotion:
        """Served first: a file that cannot be written must not keep a bad version where it is."""
        left, words = self._standing.left(model, promotion)
        why = "; ".join(filter(None, (why[: LONGEST_REASON - len(words) - 2], words)))
        update = {"phase": "rolled back", "before": left or promotion.before, "since": self._clock(), "forced": False}
        update |= taken_back_after(promotion, self.state.promotions.get(model), self.fleet.replica)
        after = structs.replace(promotion, **update)
        event = self._event(model, after, "rolled back", actor, why)
        if actor == ITSELF:
            self._tell(event, promotion, self.known(model), bound)
        self._judge.end(model)
        kept = self.state.with_promotion(model, after, event)
        self.state = kept
        self.ended[model, "rolled_back", bound] += 1
        log.warning("model %s version %s: rolled back by %s%s", model, after.version, actor, f": {why}" if why else "")
        try:
            await self._server.share(self.shares)
        finally:
            self._keep(kept)
            self.fleet.told(model)
        return after

    async def _change(
        self, model: str, promotion: Promotion, what: str, actor: str, why: str = "", *, since: float | None = None
    ) -> Promotion:
        """Kept first: what a restart would not know of is not begun. since: now, unless the step stays."""
        after = structs.replace(promotion, since=self._clock() if since is None else since)
        event, digest = self._event(model, after, what, actor, why), self._standing.digest(model, after.version)
        approved = self.state.with_approved(model, after.version, digest)
        after = await self.fleet.agreed(model, after, event, approved.with_promotion(model, after, event))
        kept = approved.with_promotion(model, after, event)
        known = self.known(model) if actor == ITSELF else None
        self.store.save(kept)
        if known is not None:
            self._tell(event, known.promotion, known)
        self.state = kept
        forced = " (forced)" if kept.events[-1].forced else ""
        told = f"{forced}: {why}" if why else forced
        log.info("model %s version %s: %s, by %s%s", model, after.version, what, actor, told)
        await self._server.share(self.shares)
        return after

    def _tell(self, event: Event, before: Promotion, known: Known, bound: str = "") -> None:
        self.recorder().note(
            decided(event, before, known, digest=self._standing.digest(event.model, event.version), bound=bound)
        )

    def _event(self, model: str, promotion: Promotion, what: str, actor: str, why: str) -> Event:
        at, version = self._clock(), promotion.version
        forced = promotion.forced and what != GOES_ON  # which forces no step
        return Event(at=at, model=model, version=version, what=what, actor=actor, why=why, forced=forced)

    def _keep(self, state: State) -> None:
        self.state = state
        self.store.keep(state)

    def _settings(self, model: str) -> PromotionSettings:
        return self._server.config.settings(model).promotion
