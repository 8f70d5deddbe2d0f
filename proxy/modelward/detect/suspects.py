"""Who is how suspicious, as operators see it: the records of the table, with the names that are known of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from modelward.config.access import SOURCES, pattern, sources
from modelward.config.detection import ModelDetection
from modelward.detect.progress import Progress
from modelward.detect.restriction import KINDS, Known, Restriction
from modelward_native.detect.suspicion import STEPS

NOT_KNOWN = ModelDetection()


class Suspect(Struct, frozen=True):
    """step: that its evidence is worth, or that an operator holds it at; gets: the one that is taken. evidence: nats by
    signal. Times are seconds: since its step is so, since its last row, until its block ends. distinct: rows ever;
    today: of these, weighted by how precise the answers were. budget: of a day; 0 for none."""

    kind: str
    name: str
    model: str
    step: str
    gets: str
    held: bool
    evidence: Mapping[str, float]
    since: float
    last: float
    blocked: float
    strikes: int
    distinct: float
    today: float
    budget: int


class Suspects(Struct, frozen=True):
    """suspects: the most suspicious first. steps: all identities that are remembered, by step. watched: models.
    restrictions: what operators hold. evicted: records that were given to another identity. learning: of models that
    are watched."""

    suspects: Sequence[Suspect] = ()
    steps: Mapping[str, int] = field(default_factory=dict)
    watched: Sequence[str] = ()
    restrictions: Sequence[Restriction] = ()
    evicted: int = 0
    learning: Sequence[Progress] = ()


def suspect(record: Mapping[str, Any], known: Known | None, settings: ModelDetection | None) -> Suspect:
    """record: as modelward_native.detect.suspicion tells it. settings: of the model, where it is known."""
    today_ = int(time.time()) // 86_400 & 0xFFFF
    held, step = record["pinned"] is not None, record["step"]
    kind, name, model = (known.kind, known.name, known.model) if known is not None else ("", "", "")
    policy = _policy(settings or NOT_KNOWN, kind, name)
    today = record["spent"] if record["day"] == today_ else 0.0
    if not held:
        step = max(step, _of_budget(policy, today), key=STEPS.index)
    return Suspect(
        kind=kind,
        name=name,
        model=model,
        step=step,
        gets=step if held else _taken(policy, step),
        held=held,
        evidence=record["evidence"],
        since=record["since_ns"] / 1e9,
        last=record["last_ns"] / 1e9,
        blocked=record["blocked_ns"] / 1e9,
        strikes=record["strikes"],
        distinct=record["distinct"],
        today=today,
        budget=policy.budget or 0,
    )


def gets(settings: ModelDetection, known: Known, step: str) -> str:
    """The step that is taken for an identity whose evidence is worth this one."""
    return _taken(_policy(settings, known.kind, known.name), step)


def _of_budget(policy: ModelDetection, today: float) -> str:
    """As modelward_native/detect/budget.pxd."""
    used = today / policy.budget if policy.budget else 0.0
    return next(
        (step for least, step in ((2.0, "fallback"), (1.5, "top_class"), (1.0, "round")) if used >= least), STEPS[0]
    )


def _taken(policy: ModelDetection, step: str) -> str:
    return STEPS[min(STEPS.index(step), STEPS.index(policy.strongest))] if policy.mode == "act" else STEPS[0]


def _policy(settings: ModelDetection, kind: str, name: str) -> ModelDetection:
    """As the data plane chooses it."""
    source = next((each for each in SOURCES if KINDS.get(each, each) == kind), None)
    return settings.of(
        next(
            (
                each
                for each in settings.ordered
                if source in sources(settings.identities[each].by) and pattern(each).fullmatch(name)
            ),
            None,
        )
    )
