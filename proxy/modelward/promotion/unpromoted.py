"""Models whose new versions wait for a promotion: which version answers until then."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from modelward.config.schema import Config
from modelward.models.approved import admitted, due, first_of, is_guarded, waiting, written
from modelward.models.catalog import version_order
from modelward.models.weights import Shares, Weights, primary
from modelward.promotion.asked import PromotedServer
from modelward.promotion.state import ITSELF, LONGEST_REASON, Event, Promotion, State

log = logging.getLogger("modelward.promotion")


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
            now = now_of(server, state, model, shares).get(model)
            if now is None or any(now.values()):
                found[model] = primary(served, now)
    return found


def at_start(config: Config, state: State, there: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The last version promoted under another `versions:`, else the oldest; where promotions need approvals, that was
    approved.

    There may be newer ones that were taken back, or never promoted, and the record of it lost. config: that is to be
    followed. there: versions by model, ascending.
    """
    found = {}
    for model, versions in there.items():
        last, guarded = state.promotions.get(model), is_guarded(config, state.may_answer, model)
        if not versions or written(config, state.may_answer, model) is not None:
            continue
        if config.policy(model) != "promoted" and not guarded:
            continue
        if model in state.serving or (last is not None and last.configured == _raw(config, model)):
            continue
        shares = last.shares if last is not None else {}
        if guarded:
            known = (state.may_answer or {}).get(model, {})
            found[model] = first_of(shares) or next((v for v in versions if v in known), versions[0])
        else:
            left = {v: share for v, share in shares.items() if v in versions}
            found[model] = primary(versions, left) if any(left.values()) else versions[0]
    return found


def when_lost(
    server: PromotedServer, state: State, there: Mapping[str, Sequence[str]], at: float
) -> tuple[dict[str, str], Event]:
    """Which version answers where it is not known what was promoted, and what tells of it. state: what a fleet knows.

    Of a model that it does not know, and without `versions:`, it is the one before the newest, which may have been
    taken back; where new versions wait for a promotion, the oldest. at: seconds since 1970.
    """
    older = {
        model: versions[0] if server.config.policy(model) == "promoted" else versions[-2]
        for model, versions in there.items()
        if len(versions) > 1 and server.config.settings(model).versions is None and model not in state.promotions
    }
    words = ", ".join(f"{model} by version {version}" for model, version in sorted(older.items()))
    log.error("what was promoted is not known; answered now: %s", words or "as versions: says")
    return older, Event(at=at, what="state lost", actor=ITSELF, why=words[:LONGEST_REASON])


def recorded_shares(config: Config, state: State) -> dict[str, dict[str, int]]:
    """Shares by model, where the configuration has no say in them, or not the only one."""
    names = {*state.promotions, *state.serving, *config.models}
    obeyed = {name: written(config, state.may_answer, name) for name in names}
    promoted = {
        model: promotion.shares
        for model, promotion in state.promotions.items()
        if promotion.configured == _raw(config, model)
    }
    waiting = {model: {version: 1} for model, version in state.serving.items() if obeyed[model] is None}
    approved = {m: shares for m, shares in obeyed.items() if shares is not None and shares != _raw(config, m)}
    return {**approved, **waiting, **promoted}


def _raw(config: Config, model: str) -> dict[str, int] | None:
    versions = config.settings(model).versions
    return None if versions is None else dict(versions)


def now_of(server: PromotedServer, state: State, model: str, shares: Shares) -> Weights:
    """Of one model that is served."""
    facts, served = {model: server.facts(model)}, {model: server.versions(model)}
    return admitted(server.config, state.may_answer, shares, facts, served)[0]


def may_answer(server: PromotedServer, state: State, model: str) -> tuple[str, ...]:
    """Of its versions that are served."""
    out = waiting(server.config, state.may_answer, {model: server.facts(model)}).get(model, ())
    return tuple(version for version in server.versions(model) if version not in out)


def left(server: PromotedServer, state: State, model: str, promotion: Promotion) -> tuple[Mapping[str, int], str]:
    """Shares once it is taken back, and what to say of them: those before it. Where none of these versions would
    answer, another has all: the newest that is approved, or the next older. No shares where there is none."""
    version, before = promotion.version, promotion.before
    if not server.facts(model):
        return before, ""
    able = may_answer(server, state, model)
    if is_guarded(server.config, state.may_answer, model):
        known = (state.may_answer or {}).get(model, {})
        approved = {each: digest for each, digest in known.items() if each != version or before.get(each)}
        wanted = due(server.config, {model: approved}, {model: before}, model)
        if first_of(wanted) in able:
            return before if any(before.values()) else wanted, ""
        others = [each for each in able if each in approved and each != version]
    elif any(before.values()):
        return before, ""
    else:
        others = [each for each in able if version_order(each) < version_order(version)]
    if not others:
        return {}, "no version answers now"
    return {others[-1]: 1}, f"version {others[-1]} has all requests: none that had a share before could answer"
