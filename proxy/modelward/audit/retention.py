"""Removes the contents of old records, whole bundles at a time, and says so in the log first.

Each record of a removal names everything that was removed so far. So the newest suffice to tell a gap from a theft, and
older ones may go in their time. What is gone and no such record names stays unexplained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from modelward.audit.gaps import is_in_the_tree
from modelward.audit.log import Gone, Reader
from modelward.audit.note import Checkpoint, Verifier
from modelward.audit.query import parsed
from modelward.audit.record import Record
from modelward.audit.removal import MOST_RANGES, Range, removal, removal_record
from modelward.audit.tiles import TILE
from modelward.audit.verify import checked
from modelward.config.retention import Hold, Retention
from modelward.plural import counted
from modelward.problem import Problem

HOW = (
    "Hold spans of time (since, until) in place of single models and actors, so that what is kept lies together; or "
    "take holds off that have ended"
)


class Plan(Struct, frozen=True):
    """before: what was removed by now, as the log tells. ranges: that, and what is to be removed now. held: records
    that are old enough and kept by a legal hold, with the others of their bundles. left: old enough and not held, and
    kept all the same, since one record cannot name so many ranges."""

    before: tuple[Range, ...]
    ranges: tuple[Range, ...]
    held: int
    left: int = 0

    @property
    def removes(self) -> int:
        return _count(self.ranges) - _count(self.before)

    @property
    def problem(self) -> Problem | None:
        if not self.left:
            return None
        what = f"{counted(self.left, 'old record')} of the audit trail cannot be removed"
        why = f"legal holds keep others between them: what is removed would be more than {MOST_RANGES} ranges"
        return Problem(what, "audit.retention.legal_hold", why, HOW)

    def record(self, settings: Retention) -> Record:
        figures = {"records": self.removes, "removed_in_all": _count(self.ranges), "held": self.held}
        return removal_record(self.ranges, f"older than {settings.days} days", figures)


class Planner:
    """Reads a log, of which it has read all up to `scanned` before. Blocks."""

    def __init__(self, log: Reader, verifier: Verifier, settings: Retention) -> None:
        self._log = log
        self._verifier = verifier
        self._settings = settings
        self._told: list[Range] = []
        self._scanned = 0

    def plan(self, now: datetime) -> Plan:
        """Raises OSError, NotSigned, ValueError."""
        checkpoint = checked(self._log.note(), self._verifier)
        self._read_removals(checkpoint)
        cutoff = now - timedelta(days=self._settings.days)
        holds = [_holding(hold) for hold in self._settings.legal_hold]
        ranges, held, left = list(self._told), 0, 0
        for index in range(checkpoint.size // TILE):
            span = index * TILE, (index + 1) * TILE
            if _covered(span, self._told):
                continue
            try:
                records = [_fields(number, leaf) for number, leaf in enumerate(self._log.bundle(index, TILE), span[0])]
            except Gone:
                continue  # and no record tells why: that is not for us to explain
            if any(datetime.fromisoformat(record["at"]) >= cutoff for record in records):
                break
            if any(holds_it(record) for record in records for holds_it in holds):
                held += TILE
            else:
                with_it = _merged([*ranges, span])
                if len(with_it) > MOST_RANGES:
                    left += TILE
                else:
                    ranges = with_it
        return Plan(tuple(self._told), tuple(ranges), held, left)

    def _read_removals(self, checkpoint: Checkpoint) -> None:
        """Only those that are in the signed tree are believed: others would let us explain what somebody took out."""
        for index in range(self._scanned // TILE, -(-checkpoint.size // TILE)):
            first = index * TILE
            try:
                records = self._log.bundle(index, min(TILE, checkpoint.size - first))
            except Gone:
                continue
            for number, record in enumerate(records, first):
                told = removal(number, record)
                if told is not None and is_in_the_tree(self._log, checkpoint, number):
                    self._told = _merged([*self._told, *told.ranges])
        self._scanned = checkpoint.size


def _fields(number: int, leaf: bytes) -> dict[str, Any]:
    """Of what is read before it is verified. Raises ValueError."""
    fields = parsed(number, leaf)
    if not isinstance(fields, dict) or not isinstance(fields.get("at"), str):
        raise ValueError(f"record {number} is none")
    model, actor = fields.get("model", ""), fields.get("actor", {})
    if not isinstance(actor, dict) or not all(isinstance(each, str) for each in (model, *actor.values())):
        raise ValueError(f"record {number} is none")
    return fields


def _holding(hold: Hold) -> Callable[[dict[str, Any]], bool]:
    model, actor = (re.compile(re.escape(each).replace(r"\*", ".*"), re.DOTALL) for each in (hold.model, hold.actor))

    def holds(record: dict[str, Any]) -> bool:
        at = datetime.fromisoformat(record["at"])
        return (
            (hold.since is None or at >= hold.since)
            and (hold.until is None or at < hold.until)
            and model.fullmatch(record.get("model", "")) is not None
            and actor.fullmatch(record.get("actor", {}).get("name", "modelward")) is not None
        )

    return holds


def _covered(span: Range, ranges: Iterable[Range]) -> bool:
    return any(first <= span[0] and span[1] <= end for first, end in ranges)


def _merged(ranges: Sequence[Range]) -> list[Range]:
    found: list[Range] = []
    for first, end in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return found


def _count(ranges: Iterable[Range]) -> int:
    return sum(end - first for first, end in ranges)


def steps(ranges: Iterable[Range], most: int = 1000 * TILE) -> Iterator[Range]:
    """In parts, so that none takes long."""
    for first, end in ranges:
        for at in range(first, end, most):
            yield at, min(end, at + most)
