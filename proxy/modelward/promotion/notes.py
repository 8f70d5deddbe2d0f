"""What there is to say of models that are not answered by their newest version, or as `versions:` says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from modelward.config.changes import right_of_model
from modelward.config.schema import Config
from modelward.models.approved import due, first_of, is_guarded, refused_of, unapproved, was_covered
from modelward.models.weights import Shares, primary
from modelward.problem import Problem
from modelward.promotion.asked import PromotedServer, configured
from modelward.promotion.state import State
from modelward.promotion.unpromoted import left, may_answer, now_of
from modelward.repository.refused import Refused

log = logging.getLogger("modelward.promotion")

LISTED = 8  # models that a note names
REMIND_SECONDS = 60.0
WHY_NOT = "they tell no versions, or the signature is declared or not known"
UNTOLD = "its upstreams tell no versions or no signature any more, and none of its versions was approved before"
NO_SHARE = "no share before a promotion, which needs approvals"


def notes(server: PromotedServer, state: State, waiting: Mapping[str, str], shares: Shares) -> list[Problem]:
    """waiting: by model the version that has all requests until one is promoted. shares: decided by promotions."""
    return [
        *_unanswered(server, state, waiting, shares).values(),
        *_waits(server, state, waiting, shares),
        *_named(server, state),
    ]


def out_of_service(server: PromotedServer, state: State, waiting: Mapping[str, str], shares: Shares) -> list[Refused]:
    """For the status: models that no version answers, and versions that `versions:` names and that wait."""
    found = [Refused(model, "", (gone,)) for model, gone in _unanswered(server, state, waiting, shares).items()]
    waits = {m: unapproved(server.config, state.may_answer, m) for m in server.models() if server.facts(m)}
    return [*found, *refused_of(waits, waits)]


class Unanswered:
    """Tells in the log of models that no version answers: at once, and each minute until one does. A worker may have
    been replaced, and its successor not have found what the one before had open. And once of those not covered."""

    def __init__(self, server: PromotedServer, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._told: dict[Problem, float] = {}
        self._uncovered: list[str] = []

    def look(self, state: State, waiting: Mapping[str, str], shares: Shares) -> None:
        """As `notes`. To be called all the time."""
        now, before = self._clock(), self._told
        self._told = {}
        for problem in _unanswered(self._server, state, waiting, shares).values():
            last = before.get(problem)
            if last is None or not 0 <= now - last < REMIND_SECONDS:
                log.error("%s", problem)
                last = now
            self._told[problem] = last
        open_, self._uncovered = self._uncovered, uncovered(self._server, state)
        for model in self._uncovered:
            if model not in open_:
                log.warning("%s: %s", not_covered([model]), WHY_NOT)


def uncovered(server: PromotedServer, state: State) -> list[str]:
    """Models that need approvals, and whose upstreams decide which version answers."""
    approved, config = state.may_answer, server.config
    open_ = [model for model in server.models() if not server.facts(model) and is_guarded(config, approved, model)]
    return [model for model in open_ if not was_covered(config, approved, model)]


def not_covered(models: Sequence[str]) -> str:
    """In words; empty without any."""
    listed = ", ".join(models[:LISTED]) + (f" and {len(models) - LISTED} more" if len(models) > LISTED else "")
    return f"approvals do not cover the versions of {listed}: the upstreams decide which one answers" if models else ""


def tell(server: PromotedServer, state: State, waiting: Mapping[str, str], shares: Shares) -> None:
    """What waits, in the log."""
    for note in [*_waits(server, state, waiting, shares), *_named(server, state)]:
        log.warning("%s", note)


def on_upstreams(server: PromotedServer) -> dict[str, tuple[str, ...]]:
    """Versions of models that upstreams run and whose shares can be decided here."""
    known = {model: server.facts(model) for model in server.models()}
    return {model: (*facts,) for model, facts in known.items() if any(each.interface for each in facts.values())}


def tell_new(server: PromotedServer, state: State, model: str, versions: Sequence[str]) -> None:
    """In the log, what answers no client of the versions that have come on upstreams."""
    able = may_answer(server, state, model)
    for version in versions:
        if version not in able:
            how = f"promote it: modelward promote {model} {version}"
            log.warning("model %s has version %s on its upstreams, which answers no client; %s", model, version, how)


def answered(server: PromotedServer, state: State, waiting: Mapping[str, str]) -> str:
    """By which version each model is, in words."""
    told = {m: f"version {v}" if v in may_answer(server, state, m) else "no version" for m, v in waiting.items()}
    return ", ".join(f"{model} by {version}" for model, version in sorted(told.items()))


def _unanswered(server: PromotedServer, state: State, waiting: Mapping[str, str], shares: Shares) -> dict[str, Problem]:
    """By name the models that no version answers until one is promoted, or the one that should is back."""
    found, approved = {}, state.may_answer
    for model in server.models():
        if approved is None or not is_guarded(server.config, approved, model):
            continue
        if not server.facts(model) and not was_covered(server.config, approved, model):
            continue
        if first := _missing(server, state, model, shares):
            is_other = first in server.versions(model)
            why = f"version {first} should, and {'its files are not the approved ones' if is_other else 'is not there'}"
            back = f", or take it back: modelward rollback {model}" if _can_go_back(server, state, model, first) else ""
            how = f"Put its files back, or promote another version{back}"
        elif (model not in waiting or not server.facts(model)) and not due(server.config, approved, shares, model):
            if not server.facts(model):
                how = f"Mend what they tell, then promote one; or set models.{model}.approvals: {{promote: 0}}"
                found[model] = Problem("no version answers", f"model {model}", UNTOLD, how)
                continue
            known = [v for v in may_answer(server, state, model) if v in approved.get(model, {})]
            why = f"version {known[-1]} may, and has no share" if known else "none is approved that has a share"
            how = f"Promote one: modelward promote {model} {known[-1] if known else 'VERSION'} --steps 100"
        else:
            continue
        found[model] = Problem("no version answers", f"model {model}", why, how)
    return found


def _can_go_back(server: PromotedServer, state: State, model: str, version: str) -> bool:
    last = state.promotions.get(model)
    if last is None or last.phase == "rolled back" or last.configured != configured(server, model):
        return False
    return last.version == version and any(left(server, state, model, last)[0].values())


def _named(server: PromotedServer, state: State) -> list[Problem]:
    """Versions that `versions:` gives a share, and that wait for a promotion all the same."""
    found = []
    for model in server.models():
        if server.facts(model) and (waits := unapproved(server.config, state.may_answer, model)):
            how = f"Promote it: modelward promote {model} {waits[-1]}"
            found.append(Problem(f"{', '.join(waits)}: {NO_SHARE}", f"models.{model}.versions", how=how))
    return found


def named_of(config: Config, state: State, now: Config) -> list[str]:
    """Of a configuration that is not followed yet, for a proposal of it: what approvals of versions are worth then, and
    as `_named`. now: the one that is followed."""
    waiting = {model: unapproved(config, state.may_answer, model) for model in sorted(config.models)}
    waits = [f"models.{model}.versions: {', '.join(each)}: {NO_SHARE}" for model, each in waiting.items() if each]
    return [line for told in (_uncovered(config, now), _moved(config, now), waits) for line in _listed(told)]


def _uncovered(config: Config, now: Config) -> list[str]:
    return [
        f"approvals will not cover the versions of {model}"
        for model in sorted(config.models)
        if (declared := right_of_model(config, model, "signature")) is not None
        and declared != right_of_model(now, model, "signature")
    ]


def _moved(config: Config, now: Config) -> list[str]:
    """Models whose upstreams are others."""
    told = []
    for model in sorted({*config.models, *now.models}):
        own, before = config.settings(model).upstreams, now.settings(model).upstreams
        is_moved = own != before and (own or config.upstreams) != (before or now.upstreams)
        if is_moved and config.approvers("promote", model):
            told.append(f"{model}: its approved versions would come from other servers")
    if config.upstreams != now.upstreams and any(config.approvers("promote", name) for name in ("", *config.models)):
        told.insert(0, "upstreams: approved versions of the models there would come from other servers")
    return told


def _listed(told: Sequence[str]) -> list[str]:
    return [*told[:LISTED], *([f"and {len(told) - LISTED} more models"] if len(told) > LISTED else [])]


def _missing(server: PromotedServer, state: State, model: str, shares: Shares) -> str:
    """The approved version that should answer and is not there, so that none answers; empty where none is missing."""
    if state.may_answer is None or not is_guarded(server.config, state.may_answer, model):
        return ""
    first = first_of(due(server.config, state.may_answer, shares, model))
    return "" if first in may_answer(server, state, model) else first


def _waits(server: PromotedServer, state: State, waiting: Mapping[str, str], shares: Shares) -> list[Problem]:
    """Which versions answer, and which wait. waiting: by model the version that has all requests until then."""
    told = {}
    example = ""
    for model in sorted(waiting):
        served = server.versions(model) if server.facts(model) else ()
        if not served or configured(server, model) is not None or _missing(server, state, model, shares):
            continue
        now = now_of(server, state, model, shares).get(model)
        answers = primary(served, now) if now is None or any(now.values()) else ""
        if newer := served[served.index(answers) + 1 :] if answers else served:
            wait = f"version {newer[0]} waits" if len(newer) == 1 else f"versions {', '.join(newer)} wait"
            told[model] = f"{model} is answered by {f'version {answers}' if answers else 'no version'}; {wait}"
            example = example or f"modelward promote {model} {newer[-1]}"
    if not told:
        return []
    more = f"; and {len(told) - LISTED} more" if len(told) > LISTED else ""
    what = f"no promotion is on record: {'; '.join([*told.values()][:LISTED])}{more}"
    how = f"Promote a version: {example}. If you had promoted it, the folder state was lost: keep it on a volume"
    return [Problem(what, "models", how=how)]
