"""Counted summaries for the audit trail: what of each minute was refused to whom, from what is counted anyway.

Strangers decide how much that is: a minute has one record of each kind, and names a bounded number of callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from modelward.audit.record import Record, summary
from modelward.limits.callers import Caller, Unwanted

MOST_CALLERS = 20
OTHERS = "others"
DENIED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CREDENTIALS_LIMIT")
LIMITED = ("PEER_LIMIT", "IDENTITY_LIMIT", "MODEL_LIMIT", "TOTAL_LIMIT")
ANOMALIES = "anomalies"
ORDINARY = ("idle", "room")
"""Reasons to close a connection that are no sign of anything."""

Counts = Mapping[str, int]


class Counted(Struct, frozen=True):
    """At the end of a minute, all since the start. refusals: by model and reason. anomalies: by model. closed:
    connections by reason. limited: refusals by limits, by those callers that the tables hold. unwanted: likewise."""

    refusals: Mapping[str, Counts] = field(default_factory=dict)
    anomalies: Counts = field(default_factory=dict)
    closed: Counts = field(default_factory=dict)
    limited: Counts = field(default_factory=dict)
    unwanted: Unwanted = field(default_factory=Unwanted)


def refused_callers(callers: Sequence[Caller]) -> dict[str, int]:
    return {each.words: each.refusals for each in callers}


def summaries(before: Counted, now: Counted) -> Iterator[Record]:
    """Of what has come between the two."""
    refusals = {model: _since(before.refusals.get(model, {}), counts) for model, counts in now.refusals.items()}
    was, is_now = before.unwanted, now.unwanted
    denied, callers = _of(refusals, DENIED), _since(was.denied, is_now.denied)
    if denied or callers:
        yield _summary("access.denied", {"by_model": denied, "by_caller": _most(callers, _sum(denied))})
    limited, callers = _of(refusals, LIMITED), _since(before.limited, now.limited)
    if limited or callers:
        yield _summary("limits.refused", {"by_model": limited, "by_caller": _most(callers, _sum(limited))})
    closed = {why: n for why, n in _since(before.closed, now.closed).items() if why not in ORDINARY}
    if closed:
        peers = _since(was.closed, is_now.closed)
        yield _summary("connections.closed", {"by_reason": closed, "by_peer": _most(peers, sum(closed.values()))})
    if anomalies := _since(before.anomalies, now.anomalies):
        callers = _since(was.anomalous, is_now.anomalous)
        by_caller = _most(callers, sum(anomalies.values()))
        yield _summary(ANOMALIES, {"by_model": _most(anomalies), "by_caller": by_caller})


def _summary(verb: str, figures: Mapping[str, Any]) -> Record:
    kept = {name: each for name, each in figures.items() if each}
    return summary(verb, figures=kept)


def _since(before: Counts, now: Counts) -> dict[str, int]:
    """What has come; of one that has begun again, all."""
    new = {name: count - before.get(name, 0) if count >= before.get(name, 0) else count for name, count in now.items()}
    return {name: count for name, count in new.items() if count}


def _of(refusals: Mapping[str, Counts], reasons: Sequence[str]) -> dict[str, dict[str, int]]:
    """The models with most of these refusals, and the others together."""
    found = {model: {why: n for why, n in counts.items() if why in reasons} for model, counts in refusals.items()}
    ranked = sorted(((sum(counts.values()), model) for model, counts in found.items() if counts), reverse=True)
    told = {model: found[model] for _, model in ranked[:MOST_CALLERS]}
    if others := sum(count for count, _ in ranked[MOST_CALLERS:]):
        told[OTHERS] = {"all": others}
    return told


def _sum(by_model: Mapping[str, Counts]) -> int:
    return sum(sum(counts.values()) for counts in by_model.values())


def _most(counts: Counts, total: int = 0) -> dict[str, int]:
    """total: of all, also of those who are in no table."""
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    told = dict(ranked[:MOST_CALLERS])
    if (others := max(total, sum(counts.values())) - sum(told.values())) > 0:
        told[OTHERS] = others
    return told
