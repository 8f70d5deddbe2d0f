"""Calls of the admin API that were denied: counted all, told and recorded one by one only the first of each minute.

Strangers decide how many there are. What is over the first ones of a minute is summed up at its end. Operators with a
binding have places of their own, each of them: no stranger hides what one of them has tried.
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
FIRST = 10  # of a minute, of strangers together
FIRST_OF_OPERATOR = 3  # of each operator with a binding
FIRST_OF_OPERATORS = 60  # of these together
LONGEST_WHY = 600  # characters
MOST_NAMED = 20  # strangers in a summary, and as many operators
OTHERS = "others"


class Minute:
    """What was denied to strangers, or to operators, within one minute."""

    def __init__(self, first: int, first_of_one: int) -> None:
        """first: calls that are told one by one; first_of_one: of these, as many of one name."""
        self._first = first
        self._first_of_one = first_of_one
        self._told: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        """By name and what was asked for."""

    def tells(self, name: str, asked: str) -> bool:
        """Whether this one is told; else it is part of the sum."""
        if self._told.total() < self._first and self._told[name] < self._first_of_one:
            self._told[name] += 1
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
        self._strangers, self._operators = self._begun()

    def add(self, verb: str, cause: Cause, actor: Actor, why: str, model: str = "", *, bound: bool = False) -> None:
        """why: what the caller is told. bound: there is a binding for this operator."""
        self.counts[verb, cause] += 1
        if self._minute is None:
            self._minute = asyncio.get_running_loop().call_later(MINUTE_SECONDS, self._end)
        among = self._operators if bound else self._strangers
        if not among.tells(actor.name, f"{verb} {clip(model)}".rstrip()):
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
        left = self._operators.left + self._strangers.left
        self._strangers, self._operators = self._begun()
        if not left:
            return
        listed = ", ".join(f"{words} ({count})" for words, count in left.most_common(3))
        log.warning("%d more calls of operators were refused in this minute, of %s", left.total(), listed)
        figures = {"calls": left.total(), "by": dict(left)}
        self._recorder.note(Record(at=now(), kind="summary", verb="denied", result="refused", figures=figures))

    @staticmethod
    def _begun() -> tuple[Minute, Minute]:
        return Minute(FIRST, FIRST), Minute(FIRST_OF_OPERATORS, FIRST_OF_OPERATOR)
