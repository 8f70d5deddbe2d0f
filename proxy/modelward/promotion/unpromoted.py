"""Models whose new versions wait for a promotion, where no promotion is on record: which version answers until then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelward.config.schema import Config
from modelward.models.approved import waiting
from modelward.models.weights import overridden, primary
from modelward.problem import Problem
from modelward.promotion.asked import PromotedServer, configured
from modelward.promotion.state import State

LISTED = 8  # models that the note names


def expected(
    server: PromotedServer,
    config: Config,
    state: State,
    there: Mapping[str, Sequence[str]],
    shares: Mapping[str, Mapping[str, int]],
) -> dict[str, str]:
    """The version that answers now, else as `at_start`. shares: as they are now."""
    found = at_start(config, state, there)
    for model in found:
        if server.facts(model) and (served := server.versions(model)):
            now = overridden(server.config, shares, {model: served}).get(model)
            found[model] = primary(served, now)
    return found


def at_start(config: Config, state: State, there: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The last version promoted under another `versions:`, else the oldest.

    There may be newer ones that were taken back, or never promoted, and the record of it lost. config: that is to be
    followed. there: versions by model, ascending.
    """
    found = {}
    for model, versions in there.items():
        last = state.promotions.get(model)
        if not versions or config.policy(model) != "promoted" or config.settings(model).versions is not None:
            continue
        if model in state.serving or (last is not None and last.configured is None):
            continue
        known = {v: share for v, share in last.shares.items() if v in versions} if last is not None else {}
        found[model] = primary(versions, known) if any(known.values()) else versions[0]
    return found


def recorded_shares(config: Config, state: State) -> dict[str, dict[str, int]]:
    """Shares by model, where the configuration has no say in them."""
    versions = {name: config.settings(name).versions for name in {*state.promotions, *state.serving}}
    written = {name: None if each is None else dict(each) for name, each in versions.items()}
    promoted = {
        model: promotion.shares
        for model, promotion in state.promotions.items()
        if promotion.configured == written[model]
    }
    waiting = {model: {version: 1} for model, version in state.serving.items() if written[model] is None}
    return {**waiting, **promoted}


def may_answer(server: PromotedServer, state: State, model: str) -> tuple[str, ...]:
    """Of its versions that are served."""
    out = waiting(server.config, state.may_answer, {model: server.facts(model)}).get(model, ())
    return tuple(version for version in server.versions(model) if version not in out)


def answered(server: PromotedServer, state: State, waiting: Mapping[str, str]) -> str:
    """By which version each model is, in words."""
    told = {m: f"version {v}" if v in may_answer(server, state, m) else "no version" for m, v in waiting.items()}
    return ", ".join(f"{model} by {version}" for model, version in sorted(told.items()))


def waiting_notes(
    server: PromotedServer, state: State, waiting: Mapping[str, str], shares: Mapping[str, Mapping[str, int]]
) -> list[Problem]:
    """Which versions answer, and which wait. waiting: by model the version that has all requests until then."""
    told = {}
    example = ""
    for model in sorted(waiting):
        served = server.versions(model) if server.facts(model) else ()
        if configured(server, model) is not None or not served:
            continue
        able = may_answer(server, state, model)
        answers = primary(able, overridden(server.config, shares, {model: served}).get(model)) if able else ""
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
