"""The tour: four requests a client might send, each compared with what the guard promises.

A step is a function that says what it saw; where that is not what was promised, it raises DidNotHappen.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

from msgspec import Struct, field

from modelward.demo.client import Answer, Client
from modelward.demo.serving import (
    BURST,
    FALLBACK,
    FALSE_POSITIVE_RATE,
    MODEL,
    RATE_PER_SECOND,
    SLOW,
    SLOW_DEADLINE,
    Repository,
)
from modelward.demo.table import Row, Table
from modelward.score.events import Anomaly
from modelward.server.app import Application

# A row that the model is sure about and the profile finds quite ordinary.
ORDINARY_ROW = 19
# Three decimal points that slipped by one place.
SLIPPED = {"mean texture": 10.0, "mean smoothness": 10.0, "worst symmetry": 10.0}
SENT_AT_ONCE = 3 * BURST
# How long the client of the slow model waits: after its deadline, before the model could have answered.
WAIT_SECONDS = 0.3
# The loop's timers count in milliseconds and may be one early.
TIMER_SECONDS = 0.002


class DidNotHappen(Exception):
    """A guard did not do what it promises; the message says what came instead."""


class Seen(Struct, frozen=True):
    """What a step saw: lines for people, facts for programs."""

    lines: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


class Step(Struct, frozen=True):
    name: str
    title: str
    take: Callable[["Tour"], Awaitable[Seen]]


class StepResult(Struct, frozen=True):
    step: Step
    happened: bool
    seen: Seen

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.step.name,
            "title": self.step.title,
            "happened": self.happened,
            "seen": " ".join(self.seen.lines),
            **self.seen.facts,
        }


class Tour(Struct, frozen=True):
    """What the steps need: a client on the outside, the server's own record to compare with, and the table."""

    client: Client
    application: Application
    repository: Repository
    table: Table

    @property
    def ordinary(self) -> Row:
        row: Row = self.table.rows[ORDINARY_ROW]
        return row

    async def take(self) -> AsyncIterator[StepResult]:
        """Each step's outcome as it happens; a step that fails does not keep the others from being tried."""
        for step in STEPS:
            try:
                yield StepResult(step, True, await step.take(self))
            except DidNotHappen as failure:
                yield StepResult(step, False, Seen((str(failure),)))


async def ordinary_request(tour: Tour) -> Seen:
    """The answer is the model's own: the right class, probabilities, nothing flagged."""
    answer = _answered(await tour.client.infer(MODEL, tour.ordinary, "demo-ordinary"))
    probabilities = answer.outputs["probabilities"][0]
    label = int(answer.outputs["label"][0])
    _expect(not answer.parameters, f"the answer carries {answer.parameters}")
    _expect(abs(probabilities.sum() - 1) < 1e-3, f"the probabilities are {probabilities}")
    _expect(label == tour.table.truth[ORDINARY_ROW], f"the model says {tour.table.classes[label]}, which is wrong")
    by_class = dict(zip(tour.table.classes, map(float, probabilities), strict=True))
    told = ", ".join(f"{name} {share:.1%}" for name, share in by_class.items())
    return Seen((f"{told}; answered in {_ms(answer.seconds)}",), {"probabilities": by_class, "seconds": answer.seconds})


async def unusual_request(tour: Tour) -> Seen:
    """Answered and tagged; the server's event names the very features that were changed."""
    row = tour.table.changed(tour.ordinary, SLIPPED)
    answer = _answered(await tour.client.infer(MODEL, row, "demo-unusual"))
    _expect(answer.parameters.get("modelward_anomaly") is True, f"not flagged: {answer.parameters}")
    score = float(answer.parameters["modelward_anomaly_score"])
    usual = tour.repository.profile.threshold(FALSE_POSITIVE_RATE)
    _expect(score >= usual, f"flagged with a score of {score:.1f}, where {usual:.1f} is still ordinary")
    worst = _named(tour, _event(tour, "demo-unusual"))
    _expect(worst.keys() == SLIPPED.keys(), f"the event names {', '.join(worst)}, not {', '.join(SLIPPED)}")
    told = ", ".join(f"{name} {deviation:+.0f} sd" for name, deviation in worst.items())
    return Seen(
        (
            f"anomaly score {score:.0f}; {1 - FALSE_POSITIVE_RATE:.0%} of ordinary rows stay below {usual:.0f}",
            f"most unusual: {told}",
        ),
        {"score": score, "threshold": usual, "most_unusual": worst},
    )


async def burst(tour: Tour) -> Seen:
    """As many as the limit allows are answered, the others refused at once; who waits as told is answered."""
    await asyncio.sleep(BURST / RATE_PER_SECOND)  # what the steps before have spent comes back
    answers = await asyncio.gather(*(tour.client.infer(MODEL, tour.ordinary) for _ in range(SENT_AT_ONCE)))
    codes = Counter(answer.code for answer in answers)
    refused = [answer for answer in answers if answer.code == "RESOURCE_EXHAUSTED"]
    _expect(codes.keys() == {"OK", "RESOURCE_EXHAUSTED"}, f"{SENT_AT_ONCE} requests at once ended as {dict(codes)}")
    _expect(all(answer.retry_seconds and answer.pushback_ms for answer in refused), "a refusal has no retry delay")
    delay = max(answer.retry_seconds or 0 for answer in refused)
    pushback = max(answer.pushback_ms or 0 for answer in refused)
    _expect(delay * 1000 <= pushback <= delay * 1000 + 1, f"RetryInfo says {_ms(delay)}, the trailer {pushback} ms")
    await asyncio.sleep(delay + TIMER_SECONDS)
    again = await tour.client.infer(MODEL, tour.ordinary)
    _expect(again.code == "OK", f"after waiting {_ms(delay)}, as told: {again.code}, {again.message}")
    return Seen(
        (
            f"{SENT_AT_ONCE} at once against {RATE_PER_SECOND}/s with a burst of {BURST}: "
            f"{codes['OK']} answered, {len(refused)} refused",
            f'the server says "{refused[-1].message}"; after {_ms(delay)} the next one is answered',
        ),
        {"answered": codes["OK"], "refused": len(refused), "message": refused[-1].message, "retry_seconds": delay},
    )


async def slow_request(tour: Tour) -> Seen:
    """The value of the configuration, marked as such, before the client gave up and the model could have answered."""
    answer = _answered(await tour.client.infer(SLOW, tour.ordinary, "demo-slow", WAIT_SECONDS))
    needs = tour.repository.slow_seconds
    reason, source = (answer.parameters.get(f"modelward_fallback{suffix}") for suffix in ("", "_source"))
    _expect((reason, source) == ("deadline", "value"), f"answered in {_ms(answer.seconds)} with {answer.parameters}")
    probabilities = answer.outputs["probabilities"].tolist()
    _expect(probabilities == FALLBACK, f"the fallback was {probabilities}, not {FALLBACK}")
    _expect(answer.seconds < needs, f"the fallback took {_ms(answer.seconds)}, the model itself {_ms(needs)}")
    return Seen(
        (
            f"{FALLBACK[0]} after {_ms(answer.seconds)}, marked as the fallback value of a missed {reason}",
            f"its deadline is {SLOW_DEADLINE}, the client waits {_ms(WAIT_SECONDS)}, the model needs {_ms(needs)}",
        ),
        {"reason": reason, "source": source, "seconds": answer.seconds, "model_seconds": needs},
    )


STEPS = (
    Step("ordinary", "a normal request is answered", ordinary_request),
    Step("unusual", "a request unlike the training data is flagged", unusual_request),
    Step("burst", "a burst is refused by the limit", burst),
    Step("slow", "a slow model is answered for by its fallback value", slow_request),
)


def _answered(answer: Answer) -> Answer:
    _expect(answer.code == "OK", f"{answer.code} after {_ms(answer.seconds)}: {answer.message}")
    return answer


def _event(tour: Tour, request_id: str) -> Anomaly:
    tour.application.serving.take_anomalies()
    for anomaly in reversed(tour.application.serving.events.anomalies.recent):
        if anomaly.id == request_id:
            return anomaly
    return _fail("the server has no event of it")


def _named(tour: Tour, anomaly: Anomaly) -> dict[str, float]:
    """The event's features by the table's names: the model knows its columns by number only."""
    column_name = tour.repository.profile.layout.column_name
    names = {column_name(i): name for i, name in enumerate(tour.table.features)}
    return {names[column]: deviation for column, deviation in anomaly.features}


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        _fail(otherwise)


def _fail(why: str) -> NoReturn:
    raise DidNotHappen(why)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
