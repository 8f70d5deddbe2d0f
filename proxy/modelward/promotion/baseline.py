"""Versions taken as approved without a promotion: what answers when approvals begin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from msgspec import structs

from modelward.audit.recorder import Recorder
from modelward.config.schema import Config
from modelward.models.approved import is_guarded, settled
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Weights, answering, overridden
from modelward.problem import Problem
from modelward.promotion.asked import PromotedServer
from modelward.promotion.records import decided
from modelward.promotion.state import ITSELF, LONGEST_REASON, Event, Shares, State

log = logging.getLogger("modelward.promotion")

LISTED = 8  # versions that the note names
BEGAN = "it answered when approvals began"


class Baseline:
    """notes: for READY, what this process has taken as approved because approvals began."""

    def __init__(self, server: PromotedServer, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self.notes: tuple[Problem, ...] = ()

    def settled(
        self,
        state: State,
        shares: Mapping[str, Shares],
        recorder: Recorder,
        joined: Callable[[State], State] = lambda state: state,
    ) -> State:
        """After a start or a reload: with the versions that may answer from now on, each told to the trail. joined: the
        state with what the servers of the fleet have approved, of which nothing is told here."""
        server, config = self._server, self._server.config
        facts = {model: server.facts(model) for model in server.models() if server.facts(model)}
        served = {model: server.versions(model) for model in facts}
        weights = {model: {version: 1} for model, version in answering(config, served, shares).items()}
        weights |= overridden(config, shares, served)
        approved = settled(config, state.approved, facts, weights)
        taken_back = _taken_back(config, state, weights) if approved is not None else {}
        if (approved, taken_back) == (state.approved, state.taken_back):
            return state
        after = structs.replace(state, approved=approved, taken_back=taken_back)
        if approved is None or state.approved is not None:
            return after
        others = joined(structs.replace(after, approved={model: {} for model in approved})).approved or {}
        taken = {
            (model, version): digest
            for model, versions in approved.items()
            for version, digest in versions.items()
            if is_guarded(config, approved, model) and version not in others.get(model, {})
        }
        if not taken:
            return after
        for (model, version), digest in taken.items():
            event = Event(
                at=self._clock(), model=model, version=version, what="taken as approved", actor=ITSELF, why=BEGAN
            )
            recorder.note(decided(event, digest=digest))
        words = [f"{model} version {version}" for model, version in sorted(taken)]
        log.warning("taken as approved, since %s: %s", BEGAN, ", ".join(words))
        known = {
            (m, v) for m, versions in others.items() for v, digest in versions.items() if _has(facts, m, v, digest)
        }
        models = sorted({m for m, _ in taken})
        out = [f"{m} version {v}" for m in models for v in served[m] if (m, v) not in {*taken, *known}]
        if out:
            log.warning("not approved, and answer no client from now on, named or not: %s", ", ".join(out))
        self.notes = (_note(words), *(_silent(out) if out else ()))
        told = f"{BEGAN}: {', '.join(words)}"[:LONGEST_REASON]
        return after.with_event(Event(at=self._clock(), what="taken as approved", actor=ITSELF, why=told))


def _has(facts: Mapping[str, FactsByVersion], model: str, version: str, digest: str) -> bool:
    """Whether the version has the files with this digest here."""
    return version in facts.get(model, {}) and facts[model][version].digest == digest


def _taken_back(config: Config, state: State, weights: Weights) -> dict[str, tuple[str, ...]]:
    """Without those that answer where what answers is taken as approved (modelward.models.approved.settled)."""
    found = {}
    for model, versions in state.taken_back.items():
        begins = state.approved is None or not config.approvers("promote", model)
        shares = weights.get(model, {}) if begins else {}
        found[model] = tuple(version for version in versions if not shares.get(version))
    return {model: versions for model, versions in found.items() if versions}


def _silent(words: list[str]) -> Iterator[Problem]:
    what = f"not approved, and answer no client from now on, named or not: {_listed(words)}"
    yield Problem(what, "models", how="Promote what clients name: modelward promote")


def _listed(words: list[str]) -> str:
    return ", ".join(words[:LISTED]) + (f"; and {len(words) - LISTED} more" if len(words) > LISTED else "")


def _note(words: list[str]) -> Problem:
    what = f"taken as approved, since approvals began with this start or reload: {_listed(words)}"
    return Problem(what, "models", how="Look at them; if approvals are not new, the folder state was lost")
