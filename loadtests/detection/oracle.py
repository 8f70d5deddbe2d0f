"""The model as its attackers see it: rows go in over gRPC, labels and scores come back, or nothing does.

Attackers deal their rows to their identities in turn. An identity that is refused is given up; the next one asks again.
So is one that gets labels alone, and these late.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import numpy as np

from loadtests.detection.tables import Floats, Labels
from loadtests.detection.victims import INPUT, SCORES, Victim
from loadtests.tools import client
from modelward.rpc.protocol import message_class

FULL, ROUNDED, TOP_CLASS, FALLBACK, REFUSED = ("full", "rounded", "top class", "fallback", "refused")
AT_ONCE = 256  # rows of a request where time does not matter
AT_A_TIME = 32  # rows after which an attack is looked at: it may be over
TIMEOUT_SECONDS = 30.0
SAME = 1e-3  # batches of other sizes round otherwise


@dataclass(frozen=True)
class Answer:
    """To one row. scores: (classes,), None where none came. how: FULL, or what the row got in place of exact scores."""

    how: str
    scores: Floats | None = None


class Over(Exception):
    """An attack has reached its end: it succeeded, its budget is spent, or no identity is left that is answered."""


class OutOfTime(Over):
    """It has reached none of these."""


class Identity:
    """One API key. given_up: it was refused, or its answers are labels that come late."""

    def __init__(self, key: str) -> None:
        self.metadata = [("x-api-key", key)]
        self.given_up = False


class Wire:
    """A victim that is served as `model`. Rows are standardised here, and raw as they are sent.

    per_second: 0 sends as many rows as fit into a request, as fast as they are answered. natural: rows, how many of
    them are sent before each row that is asked, and chance: such an attacker looks more like other callers. late:
    seconds after which a label alone comes late: the guard has held it back. ends: on the monotonic clock.
    """

    def __init__(
        self,
        channel: Any,
        model: str,
        victim: Victim,
        identities: Sequence[Identity],
        *,
        per_second: float = 0.0,
        natural: tuple[Floats, int, np.random.Generator] | None = None,
        late: float = float("inf"),
        ends: float = float("inf"),
    ) -> None:
        self._infer = channel.unary_unary(client.INFER)
        self._model = model
        self._victim = victim
        self._identities = list(identities)
        self._natural = natural
        self._late = late
        self._ends = ends
        self._next = 0
        self._pause = 1 / per_second if per_second else 0.0
        self._due = 0.0
        self.sent = 0

    @property
    def identities_left(self) -> int:
        return sum(not identity.given_up for identity in self._identities)

    def ask(self, rows: Floats) -> list[Answer]:
        """An answer for each row; REFUSED for those after which no identity is left. Raises OutOfTime."""
        size = 1 if self._pause else AT_ONCE
        answers: list[Answer] = []
        for at in range(0, len(rows), size):
            if self._natural is not None:
                among, count, random = self._natural
                picked = among[random.integers(0, len(among), count * len(rows[at : at + size]))]
                for row in range(0, len(picked), size):
                    self._ask(picked[row : row + size])
            answers += self._ask(rows[at : at + size])
        return answers

    def _ask(self, rows: Floats) -> list[Answer]:
        raw = self._victim.table.raw(rows)
        while (identity := self._turn()) is not None:
            self._wait()
            if (began := time.monotonic()) > self._ends:
                raise OutOfTime
            self.sent += len(raw)
            try:
                request = client.request(self._model, {INPUT: raw})
                encoded = self._infer(request.SerializeToString(), TIMEOUT_SECONDS, identity.metadata)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                identity.given_up = True
                continue
            answers = read(encoded, self._victim.scores(rows), self._victim.fallback)
            identity.given_up = time.monotonic() - began > self._late and all(map(label_alone, answers))
            return answers
        return [Answer(REFUSED)] * len(raw)

    def _turn(self) -> Identity | None:
        for _ in self._identities:
            identity = self._identities[self._next % len(self._identities)]
            self._next += 1
            if not identity.given_up:
                return identity
        return None

    def _wait(self) -> None:
        if self._pause:
            now = time.monotonic()
            # what it lost while it waited for an answer is not made up for
            self._due = max(self._due + self._pause, now)
            time.sleep(self._due - now)


def read(encoded: bytes, exact: Floats, fallback: Floats) -> list[Answer]:
    """The answers of an encoded ModelInferResponse. exact: the scores that the model itself gives these rows. fallback:
    what its fallback gives to every row: an attacker knows it by that, where it is not told."""
    response = message_class("inference.ModelInferResponse").FromString(encoded)
    raw = {output.name: data for output, data in zip(response.outputs, response.raw_output_contents, strict=True)}
    told = np.frombuffer(raw[SCORES], np.float32).reshape(exact.shape).astype(np.float64)
    return [Answer(_how(scores, own, fallback), scores) for scores, own in zip(told, exact, strict=True)]


def _how(told: Floats, exact: Floats, fallback: Floats) -> str:
    if np.array_equal(told, fallback):
        return FALLBACK
    if np.abs(told - exact).max() < SAME:
        return FULL
    return TOP_CLASS if np.count_nonzero(told) == 1 else ROUNDED


def label_alone(answer: Answer) -> bool:
    """It tells no more than the top class; so do some of the model's own answers."""
    return answer.scores is not None and bool(answer.scores.max() > 1 - SAME)


@contextmanager
def channel(port: int) -> Iterator[Any]:
    with client.channel(port) as opened:
        yield opened


class Asked(Protocol):
    """What an oracle asks: a Wire, or the model itself."""

    sent: int

    @property
    def identities_left(self) -> int: ...

    def ask(self, rows: Floats) -> list[Answer]: ...


class Local:
    """The model without a server."""

    identities_left = 1

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self.sent = 0

    def ask(self, rows: Floats) -> list[Answer]:
        self.sent += len(rows)
        return [Answer(FULL, scores) for scores in self._victim.scores(rows)]


@dataclass
class Oracle:
    """What an evasion attack asks, and the score that is kept of it. Standardised rows.

    start, label: the row under attack and what it is. eps: the distance within which another label is a success, by
    `norm`. A fallback's label is none: `victim` tells the truth. budget: requests that may be sent. patience: rows in a
    row without the model's own answer after which the attack is given up.
    """

    wire: Asked
    victim: Victim
    start: Floats
    label: int
    eps: float
    budget: int
    norm: float = 2
    patience: int = 400
    asked: int = 0
    missed: int = 0  # rows that the model did not answer itself
    missed_in_a_row: int = 0
    best: float = np.inf
    best_row: Floats | None = None
    succeeded_after: int | None = None
    how: Counter[str] = field(default_factory=Counter)

    def ask(self, rows: Floats) -> tuple[Labels, Floats]:
        """Labels (-1: none) and scores (nan: none). Raises Over."""
        rows = np.atleast_2d(np.asarray(rows, np.float64))
        labels, scores = np.full(len(rows), -1, np.int64), np.full((len(rows), self.victim.classes), np.nan)
        done = 0
        while done < len(rows):
            size = min(AT_A_TIME, len(rows) - done, self.budget - self.wire.sent)
            if size <= 0:
                raise Over
            some = slice(done, done + size)
            self._take(rows[some], labels[some], scores[some])
            done += size
        return labels, scores

    def _take(self, rows: Floats, labels: Labels, scores: Floats) -> None:
        sent = self.wire.sent
        for i, answer in enumerate(self.wire.ask(rows)):
            self.asked += 1
            self.how[answer.how] += 1
            if answer.scores is None or answer.how == FALLBACK:
                self.missed += 1
                self.missed_in_a_row += 1
            else:
                self.missed_in_a_row = 0
                labels[i], scores[i] = int(answer.scores.argmax()), answer.scores
        self._note(rows, labels, sent)
        if self.best <= self.eps or self.missed_in_a_row >= self.patience or not self.wire.identities_left:
            raise Over

    def _note(self, rows: Floats, labels: Labels, sent: int) -> None:
        """Which of these rows is the nearest of another label, as answered and in truth."""
        other = np.flatnonzero((labels >= 0) & (labels != self.label))
        if len(other):
            other = other[self.victim.labels(rows[other]) != self.label]
        if not len(other):
            return
        gaps = np.linalg.norm(rows[other] - self.start, ord=self.norm, axis=1)
        if gaps.min() < self.best:
            self.best, self.best_row = float(gaps.min()), rows[other[gaps.argmin()]].copy()
        if self.best <= self.eps and self.succeeded_after is None:
            self.succeeded_after = sent + int(other[np.flatnonzero(gaps <= self.eps)[0]]) + 1
