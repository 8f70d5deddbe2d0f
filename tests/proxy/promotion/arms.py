"""Arms of many callers, as a server counts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from modelward.promotion.guard import Arm, arm_of
from modelward.promotion.parts import CELLS, NO_PARTS, WAYS, Parts
from modelward_native.shadow.evidence import CALLER_PARTS, CHANCE
from modelward_native.shadow.sketch import SKETCH_ANSWER
from modelward_native.telemetry.histogram import EDGES, cell
from modelward_native.testing.shadow import score_cell

MS = 1_000_000


@dataclass(frozen=True)
class Caller:
    """What one caller's requests came to. slow: of the good ones, those that took slow_ms in place of 10 ms."""

    good: int
    failed: int
    replaced: int
    slow: int
    slow_ms: float
    score: float

    def parts(self, part: int, way: int) -> Parts:
        latency = [0] * len(EDGES)
        latency[cell(10 * MS)] = self.good - self.slow
        latency[cell(int(self.slow_ms * MS))] += self.slow
        outputs = [0] * CELLS
        outputs[score_cell(self.score)] = self.good * SKETCH_ANSWER

        def alone(counts: Sequence[int]) -> bytes:
            every = np.zeros((WAYS, CALLER_PARTS, len(counts)), np.int64)
            every[way, part] = counts
            return every.tobytes()

        return Parts(alone((self.good, self.failed, self.replaced, self.good)), alone(latency), alone(outputs))


def caller(
    good: int, failed: int = 0, *, replaced: int = 0, slow: int = 0, slow_ms: float = 100, score: float = 0.0
) -> Caller:
    return Caller(good, failed, replaced, slow, slow_ms, score)


def by_caller(*callers: Caller | None, way: int = CHANCE) -> Arm:
    """Of these callers, each in a part of its own; None: one that asks other versions alone."""
    parts: Iterable[Parts] = (each.parts(part, way) for part, each in enumerate(callers) if each is not None)
    counted = reduce(add, parts, NO_PARTS)
    return arm_of({"failing": 0}, (counted.tallies, counted.latency, counted.outputs))
