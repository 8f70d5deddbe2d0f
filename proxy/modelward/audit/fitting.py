"""Records that fit into the log, whatever was to be said."""

from __future__ import annotations

import logging

from msgspec import structs

from modelward.audit.record import LARGEST_RECORD, Record

log = logging.getLogger("modelward.audit")

LARGEST_NUMBER = 1 << 53


def fitting(record: Record) -> tuple[Record, int]:
    """The same, or where that is too long or no JSON, without the fields that have no bound; and its bytes."""
    try:
        length = len(record.encoded(LARGEST_NUMBER))
        if length <= LARGEST_RECORD:
            return record, length
        why = f"left out, since it was {length} bytes"
    except (ValueError, TypeError, RecursionError) as error:
        log.error("a record of %s is no JSON: %s", record.verb, type(error).__name__)
        why = "left out, since it was no JSON"
    kept = structs.replace(record, before=None, after=None, figures={"left_out": why}, problems=(), approvals=())
    return kept, len(kept.encoded(LARGEST_NUMBER))
