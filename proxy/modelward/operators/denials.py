"""Calls of the admin API that were denied: counted all, told and recorded one by one only the first of each minute.

Strangers decide how many there are. What is over the first ones of a minute is summed up at its end. Each operator that
a binding names exactly has places of its own, and so have those together that a binding matches by a pattern: who has
any number of names hides only others of the same pattern.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Literal

from modelward.audit.record import Actor, Record, human, now
from modelward.audit.recorder import Recorder
from modelward.config.operators import Binding
from modelward.status import clip

log = logging.getLogger("modelward.operators")

Cause = Literal["denied", "unauthenticated"]

MINUTE_SECONDS = 60.0
FIRST = 10  # of a minute, of strangers together
FIRST_OF_OPERATOR = 3  # of each operator that is named exactly, and of each name that a pattern matches
FIRST_OF_PATTERN = 10  # of those that one pattern matches
LONGEST_WHY = 600  # characters
MOST_NAMED = 20  # strangers in a summary, as many whom patterns match, and as many who are named
OTHERS = "others"


class Minute:
    """What was denied within one minute to strangers, to operators by a pattern, or to operators by their names."""

    def __init__(self, first: int, first_of_one: int) -> None:
        """first: calls of one binding that are told one by one; first_of_one: of these, as many of one name."""
        self._first = first
        self._first_of_one = first_of_one
        self._told: Counter[str] = Counter()  # by binding: the configuration bounds how many there are
        self._told_of: Counter[tuple[str, str]] = Counter()
        self.left: Counter[str] = Counter()
        """By name and what was asked for."""

    def tells(self, binding: str, name: str, asked: str) -> bool:
        """Whether this one is told; else it is part of the sum."""
        if self._told[binding] < self._first and self._told_of[binding, name] < self._first_of_one:
            self._told[binding] += 1
            self._told_of[binding, name] += 1
            return True
        words = f"{clip(name)}: {asked}"
        self.left[words if words in self.left or len(self.left) < MOST_NAMED else OTHERS] += 1
        return False


class Denials:
    """Used on the admin API's loop. counts: by verb and cause, since the start."""

    def __init__(self, recorder: Recorder) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._recorder = recorder
        self._minute: asyncio.TimerHandle | None = None
        self._strangers, self._matched, self._named = self._begun()

    def add(
        self, verb: str, cause: Cause, actor: Actor, why: str, model: str = "", *, binding: Binding | None = None
    ) -> None:
        """why: what the caller is told. binding: the one for this operator that is the most exact."""
        self.counts[verb, cause] += 1
        if self._minute is None:
            self._minute = asyncio.get_running_loop().call_later(MINUTE_SECONDS, self._end)
        among, of = self._strangers, ""
        if binding is not None:
            among, of = self._named if binding.is_exact else self._matched, binding.words
        if not among.tells(of, actor.name, f"{verb} {clip(model)}".rstrip()):
            return
        log.warning("%s of %s is refused: %s", verb, clip(actor.name), why)
        problem = {"what": clip(why, LONGEST_WHY), "where": "admin API", "why": cause, "how": ""}
        self._recorder.note(human(verb, actor, result="refused", model=clip(model), problems=(problem,)))

    def stop(self) -> None:
        """Sums up what is left."""
        if self._minute is not None:
            self._minute.cancel()
            self._end()

    def _end(self) -> None:
        self._minute = None
        left = self._named.left + self._matched.left + self._strangers.left
        self._strangers, self._matched, self._named = self._begun()
        if not left:
            return
        listed = ", ".join(f"{words} ({count})" for words, count in left.most_common(3))
        log.warning("%d more calls of operators were refused in this minute, of %s", left.total(), listed)
        figures = {"calls": left.total(), "by": dict(left)}
        self._recorder.note(Record(at=now(), kind="summary", verb="denied", result="refused", figures=figures))

    @staticmethod
    def _begun() -> tuple[Minute, Minute, Minute]:
        matched = Minute(FIRST_OF_PATTERN, FIRST_OF_OPERATOR)
        return Minute(FIRST, FIRST), matched, Minute(FIRST_OF_OPERATOR, FIRST_OF_OPERATOR)
