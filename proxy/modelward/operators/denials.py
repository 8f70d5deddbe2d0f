"""Calls of the admin API that were denied: counted all, told and recorded one by one only the first of each minute.

Strangers decide how many there are. What is over the first ones of a minute is summed up at its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Literal

from modelward.audit.record import Actor, Record, human, now
from modelward.audit.recorder import Recorder
from modelward.status import clip

log = logging.getLogger("modelward.operators")

Cause = Literal["denied", "unauthenticated"]

MINUTE_SECONDS = 60.0
FIRST = 10  # of a minute
LONGEST_WHY = 600  # characters
MOST_NAMED = 20  # operators in a summary
OTHERS = "others"


class Denials:
    """Used on the admin API's loop. counts: by verb and cause, since the start."""

    def __init__(self, recorder: Recorder) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._recorder = recorder
        self._minute: asyncio.TimerHandle | None = None
        self._told = 0
        self._left: Counter[str] = Counter()  # by operator, of this minute

    def add(self, verb: str, cause: Cause, actor: Actor, why: str, model: str = "") -> None:
        """why: what the caller is told."""
        self.counts[verb, cause] += 1
        if self._minute is None:
            self._minute = asyncio.get_running_loop().call_later(MINUTE_SECONDS, self._end)
        if self._told >= FIRST:
            known = actor.name in self._left or len(self._left) < MOST_NAMED
            self._left[actor.name if known else OTHERS] += 1
            return
        self._told += 1
        log.warning("%s of %s is refused: %s", verb, clip(actor.name), why)
        problem = {"what": clip(why, LONGEST_WHY), "where": "admin API", "why": cause, "how": ""}
        self._recorder.note(human(verb, actor, result="refused", model=clip(model), problems=(problem,)))

    def stop(self) -> None:
        """Sums up what is left."""
        if self._minute is not None:
            self._minute.cancel()
            self._end()

    def _end(self) -> None:
        self._minute, self._told = None, 0
        left, self._left = self._left, Counter()
        if not left:
            return
        listed = ", ".join(f"{clip(name)} ({count})" for name, count in left.most_common(3))
        log.warning("%d more calls of operators were refused in this minute, of %s", left.total(), listed)
        figures = {"calls": left.total(), "by": {clip(name): count for name, count in left.items()}}
        self._recorder.note(Record(at=now(), kind="summary", verb="denied", result="refused", figures=figures))
