"""This server's temporary limits and breaker overrides, kept alike with those of its fleet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from msgspec import structs

from modelward.admin.operator import NotNow
from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder
from modelward.fleet.once import OnceAMinute
from modelward.fleet.overrides import (
    NAME,
    Entry,
    Key,
    OfLimit,
    believable,
    bounded,
    decoded,
    encoded,
    joined,
    later,
    said,
)
from modelward.limits.temporary import TemporaryLimit
from modelward.supervisor.breaker_overrides import BreakerOverrides
from modelward.supervisor.temporary_limits import TemporaryLimits
from modelward.upstream.breaker_override import BreakerOverride, State

log = logging.getLogger("modelward.fleet")


class SharedOverrides:
    """A part of what a fleet shares (modelward.fleet.member)."""

    name = NAME

    def __init__(
        self,
        limits: TemporaryLimits,
        breakers: BreakerOverrides,
        trail: Callable[[], Recorder],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """clock: seconds since 1970."""
        self._limits = limits
        self._breakers = breakers
        self._trail = trail
        self._clock = clock
        self._tell = OnceAMinute(log).say
        self._known: dict[Key, Entry] = {}  # with those that were ended
        self._seen: dict[Key, Entry] = {}  # that held here at the last look

    def look(self) -> None:
        """Notes what operators have said here since the last look, and when."""
        now, held = self._clock(), self._held()
        for key, entry in held.items():
            if not entry.is_as(self._seen.get(key)):
                self._said(entry)
        for key, entry in self._seen.items():
            if key not in held and entry.until > now:
                self._said(structs.replace(entry, ended=True))
        self._seen = held

    async def reconcile(self, data: bytes | None) -> bytes | None:
        """Obeys what others have said later; what is to be in the store, None where that is there. Raises Malformed."""
        self.look()
        there = decoded(data) if data is not None else {}
        theirs = believable(there, self._clock())
        if len(theirs) < len(there):
            text = "%d overrides of the fleet are from the future, or hold for longer than any may: see the clocks"
            self._tell("overrides", logging.ERROR, text, len(there) - len(theirs))
        self._known = bounded(joined(self._known, theirs, self._clock()), self._seen)
        for key, entry in self._known.items():
            here = self._seen.get(key)
            over = entry.ended or entry.until <= self._clock()
            if (here is not None) if over else not entry.is_as(here):
                await self._follow(structs.replace(entry, ended=over))
        self._seen = self._held()
        if self._known == theirs:
            return None
        data = encoded(self._known)  # of as many as fit, which others may have written already
        return data if decoded(data) != theirs else None

    def _said(self, entry: Entry) -> None:
        before = self._known.get(entry.key)
        self._known[entry.key] = later(said(entry, before, self._clock()), before)

    async def _follow(self, entry: Entry) -> None:
        try:
            if entry.kind == "breaker":
                state: State = "open" if entry.state == "open" else "closed"
                override = BreakerOverride(entry.name, entry.endpoint, state, entry.until, entry.by, entry.reason)
                followed = await self._breakers.follow(override, ended=entry.ended)
            else:
                assert entry.limit is not None
                allowed = entry.limit.limit
                limit = TemporaryLimit(entry.kind, entry.name, allowed, entry.until, entry.by, entry.reason)
                followed = await self._limits.follow(limit, ended=entry.ended)
        except NotNow:  # it starts or ends
            return
        if followed:
            what = "ended" if entry.ended else "set"
            words = f"{entry.kind} {entry.name} {entry.endpoint}".rstrip()
            log.warning("the override of %s was %s on another server, by %s", words, what, entry.by)
            model = "" if entry.kind == "identity" else entry.name
            after = {"what": what, "by": entry.by}
            self._trail().note(
                automatic("override.followed", model=model, object=words, reason=entry.reason, after=after)
            )

    def _held(self) -> dict[Key, Entry]:
        limits = [
            Entry(
                kind=each.kind,
                name=each.name,
                limit=OfLimit.of(each.limit),
                until=each.until,
                by=each.by,
                reason=each.reason,
            )
            for each in self._limits.limits.values()
        ]
        breakers = [
            Entry(
                kind="breaker",
                name=each.model,
                endpoint=each.endpoint,
                state=each.state,
                until=each.until,
                by=each.by,
                reason=each.reason,
            )
            for each in self._breakers.overrides.values()
        ]
        return {each.key: each for each in (*limits, *breakers)}
