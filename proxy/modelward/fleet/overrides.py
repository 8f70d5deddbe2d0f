"""Temporary limits and breaker overrides that a fleet shares: of each the word that was said last counts.

What was ended before its time stays as an entry until then, so that a server that has not heard of the end does not
bring it back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from modelward.config.rate_limit import Limit
from modelward.config.section import Section
from modelward.fleet.record import Malformed
from modelward.fleet.store import LARGEST_DOCUMENT

NAME = "overrides"
MOST = 128
LONGEST = 1000

Text = Annotated[str, Field(max_length=LONGEST)]
Kind = Literal["model", "identity", "breaker"]
Key = tuple[Kind, str, str]


class Entry(Section):
    """kind: whose limit, or a breaker. endpoint, state: of a breaker (modelward.upstream.breaker_override). at: when it
    was said; until: when it is over; stays: until when it is remembered, as long as any word that it took the place of
    would hold. Seconds since 1970. ended: by an operator before its time."""

    kind: Kind
    name: Text
    endpoint: Text = ""
    limit: Limit | None = None
    state: Literal["", "open", "closed"] = ""
    at: float = 0.0
    until: float
    stays: float = 0.0
    by: Text = ""
    reason: Text = ""
    ended: bool = False

    @property
    def key(self) -> Key:
        return self.kind, self.name, self.endpoint

    @property
    def remembered(self) -> float:
        return max(self.until, self.stays)

    def is_as(self, other: Entry | None) -> bool:
        """The same, whenever it was said."""
        untimed = {"at": 0.0, "stays": 0.0}
        return other is not None and self.model_copy(update=untimed) == other.model_copy(update=untimed)


class Entries(Section):
    entries: tuple[Entry, ...] = Field(default=(), strict=False)


Known = Mapping[Key, Entry]


def encoded(known: Known) -> bytes:
    """Of as many as fit, those that end last first: the others end soon."""
    entries = sorted(known.values(), key=lambda each: -each.until)[:MOST]
    while (
        len(data := Entries(entries=tuple(entries)).model_dump_json(exclude_defaults=True).encode()) > LARGEST_DOCUMENT
    ):
        entries = entries[: len(entries) // 2]
    return data


def decoded(data: bytes) -> dict[Key, Entry]:
    """Raises Malformed."""
    if len(data) > LARGEST_DOCUMENT:
        raise Malformed("it is too long")
    try:
        entries = Entries.model_validate_json(data).entries
    except ValidationError as error:
        raise Malformed(error.errors()[0]["msg"]) from error
    except ValueError as error:
        raise Malformed(str(error)) from error
    for each in entries:
        if not (math.isfinite(each.at) and math.isfinite(each.remembered) and each.name.isprintable()):
            raise Malformed("an entry is out of range")
        if (each.kind == "breaker") != bool(each.state) or (each.kind == "breaker") == (each.limit is not None):
            raise Malformed("an entry is of nothing")
    return {each.key: each for each in entries}


def joined(one: Known, other: Known, now: float) -> dict[Key, Entry]:
    """Of each the later word; without what need not be remembered any more."""
    found = {key: later(entry, None) for key, entry in one.items()}
    for key, entry in other.items():
        found[key] = later(entry, found.get(key))
    return {key: entry for key, entry in found.items() if entry.remembered > now}


def later(entry: Entry, other: Entry | None) -> Entry:
    """Of two words on the same."""
    words = [entry, *([other] if other is not None else [])]
    stays = max(each.remembered for each in words)
    return max(words, key=_order).model_copy(update={"stays": stays})


def _order(entry: Entry) -> tuple[float, bool, str]:
    return entry.at, entry.ended, entry.model_copy(update={"stays": 0.0}).model_dump_json()
