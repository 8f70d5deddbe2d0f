"""The record which says that retention removed records. Without it, what is gone from a log was taken out of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from modelward.audit.record import Record, automatic

VERB = "records.removed"
MOST_RANGES = 500  # of one record, which has a largest size
MARK = b'"verb":"%s"' % VERB.encode()

Range = tuple[int, int]
"""Records from the first to before the second."""


class Removal(Struct, frozen=True):
    """record: the number of the record that tells it. ranges: of what was removed; all of them lie before it."""

    record: int
    ranges: tuple[Range, ...]


def removal_record(ranges: Sequence[Range], reason: str, figures: Mapping[str, Any]) -> Record:
    """ranges: at most MOST_RANGES."""
    return automatic(VERB, after={"removed": [list(each) for each in ranges]}, reason=reason, figures=figures)


def removal(number: int, record: bytes) -> Removal | None:
    """What a record says; None where it is of another kind, or malformed."""
    if MARK not in record:
        return None
    try:
        fields = json.loads(record)
        if fields["verb"] != VERB or fields["n"] != number:
            return None
        ranges = tuple((int(first), int(end)) for first, end in fields["after"]["removed"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(0 <= first < end <= number for first, end in ranges):
        return None
    return Removal(number, ranges)
