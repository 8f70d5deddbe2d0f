"""What the audit trail is told of promotions: steps and rollbacks that the server decided, with what decided them."""

from __future__ import annotations

from typing import Any

from modelward.audit.record import Record, automatic
from modelward.promotion.finding import Finding
from modelward.promotion.judge import Known
from modelward.promotion.state import Event, Promotion

VERBS = {
    "promoted": "promotion.finished",
    "rolled back": "promotion.rolled_back",
    "state lost": "state.lost",
    "answered until one is promoted": "version.answering",
    "taken as approved": "version.taken_as_approved",
}
"""By what an event says. Anything else is a step."""


def figures_of(finding: Finding) -> dict[str, Any]:
    """What is known of a bound."""
    told: dict[str, Any] = {"decision": str(finding.decision), "found": finding.words}
    told |= {"answers": finding.answers, "needed": finding.needed}
    return {name: each for name, each in told.items() if each}


def decided(
    event: Event, before: Promotion | None = None, known: Known | None = None, *, digest: str = "", bound: str = ""
) -> Record:
    """Of an event of the server's own. before: the promotion until then. known: what was known of its step. digest:
    of its version. bound: that a version which is taken back has passed."""
    figures: dict[str, Any] = {"bound": bound} if bound else {}
    if known is not None:
        figures |= {"bounds": {each.bound: figures_of(each) for each in known.findings}}
        if (traffic := known.traffic) is not None:
            figures |= {"requests": traffic.requests, "all_requests": traffic.total, "callers": traffic.callers}
    return automatic(
        VERBS.get(event.what, "promotion.step"),
        model=event.model,
        version=event.version,
        digest=digest,
        reason=event.why,
        before={"percent": before.percent, "shares": {**before.shares}} if before is not None else None,
        after={"what": event.what},
        figures={name: each for name, each in figures.items() if each},
    )


def followed(model: str, before: Promotion | None, after: Promotion, event: Event) -> Record:
    """Another server of the fleet has decided. event: its own."""
    return automatic(
        "promotion.followed",
        model=model,
        version=after.version,
        reason=event.why,
        before={"percent": before.percent, "shares": {**before.shares}} if before is not None else None,
        after={"what": event.what, "by": event.actor},
    )
