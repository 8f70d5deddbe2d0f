"""What people had asked for when a server ended, and no record tells what came of it: the next start tells it, before
it records anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import msgspec

from modelward.audit.fitting import fitting
from modelward.audit.log import Gone, Log, Mishap
from modelward.audit.query import parsed
from modelward.audit.read_back import leaves_backwards
from modelward.audit.record import OUTCOME_KEEPS, Record, now

START = "server.start"
MOST = 256_000
"""Records that are looked at. A log that servers share may hold none of this one's."""
_NEEDLES = b'"kind":"human"', f'"verb":"{START}"'.encode()  # others need not be parsed
READS_BACK = "reading back"
"""What fails without harm to the log, as a Mishap calls it."""

UNKNOWN: Mapping[str, Any] = {"result": "unknown", "reason": "the server ended before it told what came of it"}
Tell = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""Fields of the outcome of a record `asked`, `result` among them; None where it is told by another."""


def told_unknown(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return UNKNOWN


def outcomes(log: Log, server: str, tell: Tell, mishap: Mishap) -> list[Record]:
    """Of what this server was asked since its last start, in that order. mishap: told where that cannot be read.

    Blocks. Raises OSError where it may be read later.
    """
    try:
        left = unanswered(log, server)
    except (Gone, ValueError) as error:  # the log goes on: verify names what is wrong with it
        mishap(READS_BACK, OSError(str(error)))
        return []
    told = ((asked, tell(asked)) for asked in left)
    return [_outcome(asked, fields) for asked, fields in told if fields is not None]


def unanswered(log: Log, server: str) -> list[Mapping[str, Any]]:
    """Records `asked` without an outcome, the oldest first. Raises OSError, Gone, ValueError."""
    reader = log.reader()
    answered: set[int] = set()
    found: list[Mapping[str, Any]] = []
    try:
        for number, leaf in islice(leaves_backwards(log, reader), MOST):
            if not any(needle in leaf for needle in _NEEDLES):
                continue
            record = parsed(number, leaf)
            if not isinstance(record, dict):
                raise ValueError(f"record {number} is none")
            if record.get("server", "") != server:
                continue
            if record.get("verb") == START:
                break
            if record.get("result") != "asked":
                answered.add(record.get("of", -1))
            elif number not in answered:
                found.append({**record, "n": number})
    finally:
        reader.close()
    return found[::-1]


def _outcome(asked: Mapping[str, Any], told: Mapping[str, Any]) -> Record:
    fields = {name: asked[name] for name in OUTCOME_KEEPS if name in asked}
    return fitting(msgspec.convert({**fields, "of": asked["n"], "at": now(), **told}, Record))[0]
