"""Temporary limits and breaker overrides that a fleet shares: of each the word that was said last counts.

What was ended before its time stays as an entry until then, so that a server that has not heard of the end does not
bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from msgspec import Meta, structs

from modelward.config.rate_limit import Limit
from modelward.fleet.record import LARGEST_TIME, Malformed
from modelward.fleet.store import LARGEST_DOCUMENT
from modelward.records import Struct, read, written

NAME = "overrides"
MOST = 128
LONGEST_SECONDS = 7 * 86400.0
"""That an override may be set for (modelward.admin)."""
AHEAD_SECONDS = 86400.0
"""A word that was said later than that from now, by this server's clock, is none."""
STEP_SECONDS = 1e-3
"""By which a word is later than the one that it takes the place of, where the clock of who said that is ahead."""
MOST_KNOWN = 1024
"""That one server remembers, with those that were ended. What holds here is among them."""
LONGEST = 1000

Text = Annotated[str, Meta(max_length=LONGEST)]
Kind = Literal["model", "identity", "breaker"]
Key = tuple[Kind, str, str]


class OfLimit(Struct, frozen=True, kw_only=True):
    """A modelward.config.rate_limit.Limit as it is written: rate `1000/s`, or time `500ms/s`; burst: requests, or with
    time a duration; None: as the configuration has it where none is written."""

    rate: str | None = None
    time: str | None = None
    burst: int | str | None = None

    @classmethod
    def of(cls, limit: Limit) -> Self:
        return cls(**limit.model_dump(mode="json"))

    @property
    def limit(self) -> Limit:
        """Raises ValueError where it is none."""
        return Limit.of(self.rate, self.time, self.burst)


class Entry(Struct, frozen=True, kw_only=True):
    """kind: whose limit, or a breaker. endpoint, state: of a breaker (modelward.upstream.breaker_override). at: when it
    was said; until: when it is over; stays: until when it is remembered, as long as any word that it took the place of
    would hold. Seconds since 1970. ended: by an operator before its time."""

    kind: Kind
    name: Text
    endpoint: Text = ""
    limit: OfLimit | None = None
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
        return other is not None and _untimed(self) == _untimed(other)


def _untimed(entry: Entry) -> Entry:
    return structs.replace(entry, at=0.0, stays=0.0)


class Entries(Struct, frozen=True, kw_only=True):
    entries: tuple[Entry, ...] = ()


Known = Mapping[Key, Entry]


def believable(known: Known, now: float) -> dict[Key, Entry]:
    """Without what holds for longer than an operator may say, or was said later than now by more than clocks differ."""
    latest = now + AHEAD_SECONDS
    return {
        key: each for key, each in known.items() if each.at <= latest and each.remembered <= latest + LONGEST_SECONDS
    }


def bounded(known: Known, held: Known) -> dict[Key, Entry]:
    """held: what holds here. Of the others those that end last."""
    if len(known) <= MOST_KNOWN:
        return {**known}
    kept = sorted(known.items(), key=lambda pair: (pair[0] in held, pair[1].remembered), reverse=True)
    return dict(kept[:MOST_KNOWN])


def said(entry: Entry, before: Entry | None, now: float) -> Entry:
    """A word that is said now. before: the one that it takes the place of, which the clock of another server may have
    put later than now: it counts for less all the same."""
    return structs.replace(entry, at=max(now, before.at + STEP_SECONDS) if before is not None else now)


def encoded(known: Known) -> bytes:
    """Of as many as fit, those that end last first: the others end soon."""
    entries = sorted(known.values(), key=lambda each: (-each.until, each.key))[:MOST]
    while len(data := written(Entries(entries=tuple(entries)), defaults=False)) > LARGEST_DOCUMENT:
        entries = entries[: len(entries) // 2]
    return data


def decoded(data: bytes) -> dict[Key, Entry]:
    """Raises Malformed."""
    if len(data) > LARGEST_DOCUMENT:
        raise Malformed("it is too long")
    try:
        entries = tuple(map(_as_written_here, read(Entries, data).entries))
    except ValueError as error:
        raise Malformed(str(error)) from error
    for each in entries:
        in_time = all(0 <= at <= LARGEST_TIME for at in (each.at, each.until, each.stays))
        if not (in_time and each.name.isprintable()):
            raise Malformed("an entry is out of range")
        if (each.kind == "breaker") != bool(each.state) or (each.kind == "breaker") == (each.limit is not None):
            raise Malformed("an entry is of nothing")
    return {each.key: each for each in entries}


def _as_written_here(entry: Entry) -> Entry:
    """`60/m` and `1/s` are one limit. Raises ValueError where its limit is none."""
    return structs.replace(entry, limit=OfLimit.of(entry.limit.limit)) if entry.limit is not None else entry


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
    return structs.replace(max(words, key=_order), stays=stays)


def _order(entry: Entry) -> tuple[float, bool, bytes]:
    return entry.at, entry.ended, written(structs.replace(entry, stays=0.0))
