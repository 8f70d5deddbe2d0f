"""Whether a request for a model can be answered now: by an endpoint that is connected, or by a fallback."""

from collections.abc import Collection

from modelward.models.catalog import version_order
from modelward.models.opening import OpenVersion


def can_answer(model: OpenVersion, models: Collection[OpenVersion], seen: frozenset[str] = frozenset()) -> bool:
    """models: those that fallbacks may name. seen: models whose fallback chains were followed already.

    Only connections count, and what operators decide. Failures do not: a client can cause them. Last good answers do
    not: there may be none.
    """
    pool = model.engine.pool
    return pool is None or pool.reaches(model.engine.name) or can_fall_back(model, models, seen)


def can_fall_back(model: OpenVersion, models: Collection[OpenVersion], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a fallback of its chain is sure to answer, as can_answer."""
    seen |= {model.engine.name}
    for fallback in model.checked.fallbacks:
        if fallback.value is not None:
            return True
        others = [m for m in models if m.engine.name == fallback.model and fallback.model not in seen]
        if others and can_answer(max(others, key=lambda m: version_order(m.engine.version)), models, seen):
            return True
    return False
