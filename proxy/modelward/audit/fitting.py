"""Records that fit into the log, whatever was to be said."""

from __future__ import annotations

import logging

from modelward.audit.record import LARGEST_RECORD, Record

log = logging.getLogger("modelward.audit")

LARGEST_NUMBER = 1 << 53
FREE = ("before", "after", "figures", "problems", "approvals")
"""Fields without a bound of their own."""


def fitting(record: Record) -> tuple[Record, int]:
    """The same, or where that is too long or no JSON, without the fields that have no bound; and its bytes."""
    try:
        length = len(record.encoded(LARGEST_NUMBER))
        if length <= LARGEST_RECORD:
            return record, length
        why = f"left out, since it was {length} bytes"
    except (ValueError, TypeError) as error:  # pydantic's are ValueErrors
        log.error("a record of %s is no JSON: %s", record.verb, type(error).__name__)
        why = "left out, since it was no JSON"
    left_out = {name: Record.model_fields[name].get_default(call_default_factory=True) for name in FREE}
    kept = record.model_copy(update={**left_out, "figures": {"left_out": why}})
    return kept, len(kept.encoded(LARGEST_NUMBER))
