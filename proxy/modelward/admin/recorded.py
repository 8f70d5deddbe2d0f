"""What an operator asks for, recorded in the audit trail: before it is done, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from modelward.admin.operator import Draining, OperationResult, Operator, PromotionStatus, Replaced, Status
from modelward.audit.action import recorded
from modelward.audit.record import Actor, Record, human
from modelward.audit.recorder import NotRecorded
from modelward.promotion.asked import Wanted
from modelward.promotion.records import figures_of
from modelward.upstream.breaker_override import BreakerOrder, BreakerOverride

MOST_WORDS = 50
"""Of a list in a record."""


class Recorded:
    """What `actor` asks of `operator`, whose methods these are (modelward.admin.operator).

    All raise NotRecorded, and then nothing was done; `reload` and `restart` give its problems instead.
    """

    def __init__(self, operator: Operator, actor: Actor, **marks: Any) -> None:
        """marks: further fields of the records, such as the number of the proposal that is executed."""
        self._operator = operator
        self._actor = actor
        self._marks = marks

    async def reload(self, actor: str = "", rights: bool = True) -> OperationResult:
        asked = self._asked("reload", before=_served(self._operator.status()))
        return await self._operation(asked, partial(self._operator.reload, actor, rights))

    async def restart(self, replaced: Callable[[Replaced], None], actor: str = "") -> OperationResult:
        asked = self._asked("restart")
        act = partial(self._operator.restart, replaced, actor)
        return await self._operation(asked, act)

    async def ask_to_drain(self, actor: str = "") -> Draining:
        return await recorded(self._operator.trail, self._asked("drain"), partial(self._operator.ask_to_drain, actor))

    async def promote(self, wanted: Wanted) -> PromotionStatus:
        status = self._operator.status()
        asked = self._asked(
            "force" if wanted.force else "promote",
            model=wanted.model,
            version=wanted.version,
            digest=digest_of(status, wanted.model, wanted.version),
            reason=wanted.why,
            before=_shares(status, wanted.model),
            figures=_wishes(wanted),
        )
        return await recorded(self._operator.trail, asked, partial(self._operator.promote, wanted), self._promoted)

    async def rollback(
        self, model: str, why: str = "", actor: str = "", check: Callable[[], None] = lambda: None
    ) -> PromotionStatus:
        """check: raises where it is not to be done any more."""
        status = self._operator.status()
        promoted = next((each.known.promotion.version for each in status.promotions if each.model == model), "")
        asked = self._asked("rollback", model=model, version=promoted, reason=why,
                            digest=digest_of(status, model, promoted), before=_shares(status, model))  # fmt: skip

        async def act() -> PromotionStatus:
            check()
            return await self._operator.rollback(model, why, actor, asked.proposal or 0)

        return await recorded(self._operator.trail, asked, act, self._promoted)

    async def pardon(self, model: str, version: str | None, actor: str = "") -> Sequence[tuple[str, str]]:
        asked = self._asked("pardon", model=model, version=version or "")
        act = partial(self._operator.pardon, model, version, actor)
        return await recorded(self._operator.trail, asked, act, _pardoned)

    async def accept(
        self, model: str, version: str, actor: str = "", pinned: str = "", reason: str = ""
    ) -> Sequence[tuple[str, str]]:
        asked = self._asked("drift.accept", model=model, version=version, **({"reason": reason} if reason else {}))
        act = partial(self._operator.drift.accept, model, version, actor, pinned)
        return await recorded(self._operator.trail, asked, act, _accepted)

    async def breaker(self, order: BreakerOrder, actor: str = "") -> Sequence[BreakerOverride]:
        breakers = self._operator.breakers
        asked = self._asked(
            f"breaker.{order.action}",
            model=order.model,
            object=order.where,
            reason=order.reason,
            before=_held(breakers.of(order.model)),
            figures={"seconds": order.seconds} if order.action != "auto" else {},
        )
        return await recorded(self._operator.trail, asked, partial(breakers.obey, order, actor), _overridden)

    def _asked(self, verb: str, **fields: Any) -> Record:
        return human(verb, self._actor, **(fields | self._marks))

    async def _operation(self, asked: Record, act: Callable[[], Awaitable[OperationResult]]) -> OperationResult:
        try:
            return await recorded(self._operator.trail, asked, act, self._operated)
        except NotRecorded as found:
            return OperationResult(found.problems)

    def _operated(self, result: OperationResult) -> Mapping[str, Any]:
        """done: in part too; the problems tell what was not."""
        after = _served(self._operator.status())
        told = {"changed": result.changed, "needs_restart": result.needs_restart, "rights": result.rights}
        after |= {name: [*words[:MOST_WORDS]] for name, words in told.items() if words}
        problems = tuple(each.as_json() for each in result.problems[:MOST_WORDS])
        refused = problems and not result.changed
        return {"result": "refused" if refused else "done", "after": after, "problems": problems}

    def _promoted(self, status: PromotionStatus) -> Mapping[str, Any]:
        promotion, now = status.known.promotion, self._operator.status()
        after = _shares(now, status.model) | {"phase": promotion.phase, "percent": promotion.percent}
        return {
            "version": promotion.version,
            "digest": digest_of(now, status.model, promotion.version),
            "after": after | ({"unsaved": True} if status.unsaved else {}),
            "figures": {each.bound: figures_of(each) for each in status.known.findings},
        }


def digest_of(status: Status, model: str, version: str) -> str:
    """Of a version that runs here; else empty."""
    facts = status.report.facts.get(model, {}) if status.report is not None else {}
    return facts[version].digest if version in facts else ""


def _pardoned(found: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
    return {"after": {"pardoned": [[model, version] for model, version in found[:MOST_WORDS]]}}


def _accepted(found: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
    return {"after": {"accepted": [[model, version] for model, version in found[:MOST_WORDS]]}}


def _held(overrides: Sequence[BreakerOverride]) -> dict[str, Any]:
    """Of one model, by endpoint. until: seconds since 1970."""
    return {"breakers": {each.endpoint_words: {"state": each.state, "until": int(each.until)} for each in overrides}}


def _overridden(overrides: Sequence[BreakerOverride]) -> Mapping[str, Any]:
    return {"after": _held(overrides)}


def _wishes(wanted: Wanted) -> dict[str, Any]:
    """What else was asked for than a version's next step."""
    wishes = {"steps": [*wanted.steps] if wanted.steps else [], "auto": wanted.auto, "without": [*wanted.without]}
    return {name: wish for name, wish in wishes.items() if wish}


def _served(status: Status) -> dict[str, Any]:
    return {"generation": status.generation, "config": status.config}


def _shares(status: Status, model: str) -> dict[str, Any]:
    """Of the versions of a model, in parts of a whole; the newest has all where there are none."""
    return {"shares": {**status.weights.get(model, {})}}
