"""What the log holds of a proposal that was being executed: the next start tells what it has recorded, and what not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from modelward.audit.log import Gone, Log, Reader
from modelward.audit.query import parsed
from modelward.audit.tiles import TILE

SLACK = timedelta(minutes=5)  # by which clocks may have been set back


def told_of(log: Log, server: str, proposal: int, verb: str, since: datetime) -> tuple[Mapping[str, Any], ...]:
    """Records of the verb, the oldest first. server: of several that share the log. since: when the proposal began to
    be executed; nothing before it is read.

    Blocks. Raises OSError, Gone, ValueError where what is there is no record.
    """
    reader = log.reader()
    try:
        found = [each for each in _backwards(log, reader, since - SLACK) if _is_of(each, server, proposal, verb)]
    finally:
        reader.close()
    return tuple(reversed(found))


def _backwards(log: Log, reader: Reader, since: datetime) -> Iterator[Mapping[str, Any]]:
    for number, leaf in leaves_backwards(log, reader):
        record = parsed(number, leaf)
        if not isinstance(record, dict):
            raise ValueError(f"record {number} is none")
        if datetime.fromisoformat(str(record.get("at", ""))) < since:
            return
        yield record


def leaves_backwards(log: Log, reader: Reader) -> Iterator[tuple[int, bytes]]:
    """Records with their numbers, the newest first, as far as retention has left them. Raises OSError, Gone."""
    size = log.checkpoint.size
    for index in reversed(range(-(-size // TILE))):
        first = index * TILE
        try:
            leaves = reader.bundle(index, min(TILE, size - first))
        except Gone as gone:
            if gone.missing and size - first >= TILE:  # retention has removed it: it is older
                return
            raise
        yield from reversed([*enumerate(leaves, first)])


def _is_of(record: Mapping[str, Any], server: str, proposal: int, verb: str) -> bool:
    fields = {"kind": "human", "proposal": proposal, "verb": verb}
    return record.get("server", "") == server and all(record.get(name) == value for name, value in fields.items())
