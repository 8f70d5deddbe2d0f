"""Requests refused and answered by fallbacks, summed up in the log: a line for each model every few seconds."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from modelward.plural import counted

log = logging.getLogger("modelward.requests")

SECONDS = 10.0
# models of one round; of more, the number is told
MODELS_PER_ROUND = 20
# what the client that sent the request is to mend
CLIENTS_OWN = frozenset(
    {
        "MALFORMED_FRAMING",
        "MALFORMED_MESSAGE",
        "MALFORMED_TIMEOUT",
        "UNSUPPORTED_ENCODING",
        "HEADERS_TOO_LARGE",
        "UNKNOWN_METHOD",
        "UNKNOWN_MODEL",
        "UNKNOWN_VERSION",
        "INVALID_INPUT",
        "UNSUPPORTED_FEATURE",
    }
)

# for which a request is refused because of who sends it or what it is, and not because the server has no room for it:
# the work that they take is no reason for more servers
UNWANTED = CLIENTS_OWN | {
    "PEER_LIMIT",
    "IDENTITY_LIMIT",
    "MODEL_LIMIT",
    "TOTAL_LIMIT",
    "MESSAGE_TOO_LARGE",
    "INFLATED_TOO_LARGE",
    "RELAYED_STREAMS",
    "REQUEST_CARDINALITY",
    "SLOW_REQUEST",
    "RESTRICTED",
    "ANOMALY",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "CREDENTIALS_LIMIT",
    "ACCESS_BUSY",
}

# after a credential was looked at, which takes longer than to read a request
CHECKED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "CREDENTIALS_LIMIT", "ACCESS_BUSY"})

# what the backend was asked for and did not give
FAILED = frozenset({"BACKEND_FAILED", "RUN_MEMORY", "UPSTREAM_LOST"})

Stats = Mapping[tuple[str, str], Mapping[str, Any]]
Counts = dict[tuple[str, str], Counter[str]]  # by model ("" for none that is served), and refusals or fallbacks


class RefusalLog:
    """stats: as modelward_native.telemetry.stats.models gives them, of all processes."""

    def __init__(self) -> None:
        self._before: Counts = {}

    def take(self, stats: Stats) -> None:
        now = _counts(stats)
        lines = 0
        for (model, kind), counts in now.items():
            new = counts - self._before.get((model, kind), Counter())
            if not new:
                continue
            lines += 1
            if lines <= MODELS_PER_ROUND:
                _say(model, kind, new)
        if lines > MODELS_PER_ROUND:
            more = counted(lines - MODELS_PER_ROUND, "more model")
            log.warning("%s refused requests or were answered by fallbacks", more)
        self._before = now


def _counts(stats: Stats) -> Counts:
    found: Counts = {}
    for (model, _), total in stats.items():
        for kind in ("refusals", "fallbacks"):
            found.setdefault((model, kind), Counter()).update(total.get(kind) or {})
    return found


def _became(new: Counter[str]) -> str:
    if new.keys() <= FAILED:
        return "failed"
    return "refused or failed" if new.keys() & FAILED else "refused"


def _say(model: str, kind: str, new: Counter[str]) -> None:
    number = sum(new.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in new.most_common())
    who = f"model {model}" if model else "before a model was known"
    what = _became(new) if kind == "refusals" else "answered by a fallback"
    level = logging.INFO if new.keys() <= CLIENTS_OWN else logging.WARNING
    fields = {"model": model, "seconds": SECONDS, kind: dict(new)}
    log.log(
        level,
        "%s: %s %s in %.0f s: %s",
        who,
        counted(number, "request"),
        what,
        SECONDS,
        reasons,
        extra={"fields": fields},
    )
