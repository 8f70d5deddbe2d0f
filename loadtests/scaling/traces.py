"""Loads over time. The unit is what one pod does at the autoscaler's target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi

from loadtests.scaling.pods import Attack

MINUTE, HOUR = 60, 3600
# of each loop; beside an honest load of 0.7 the second leaves too little
ATTACK, CROWDING = 0.25, 0.6
READING = 4e-3 / (16 << 20)  # seconds for a byte of a message, where it is not packed


@dataclass(frozen=True)
class Trace:
    """step: seconds between two looks. attack: on each pod, by second."""

    name: str
    seconds: int
    load: Callable[[float], float]
    step: int = 1
    attack: Callable[[float], Attack] = lambda now: Attack()


def _points(*points: tuple[float, float]) -> Callable[[float], float]:
    """Straight lines from (minute, load) to the next."""

    def load(now: float) -> float:
        minute = now / MINUTE
        for (a, low), (b, high) in pairwise(points):
            if a <= minute < b:
                return low + (high - low) * (minute - a) / (b - a)
        return points[-1][1]

    return load


def _between(begin: float, end: float, attack: Attack) -> Callable[[float], Attack]:
    """begin, end: minutes."""
    return lambda now: attack if begin * MINUTE <= now < end * MINUTE else Attack()


def _steady(now: float) -> float:
    return 3.0


DIURNAL = Trace("diurnal", 24 * HOUR, lambda now: 1 + 7 * (1 - cos(2 * pi * now / (24 * HOUR))) / 2, step=5)
RAMP = Trace("ramp", 45 * MINUTE, _points((0, 1), (5, 1), (15, 10), (25, 10), (35, 1), (45, 1)))
FLASH = Trace("flash crowd", 45 * MINUTE, _points((0, 2), (10, 2), (10.2, 8), (20, 8), (20.2, 2), (45, 2)))
DOUBLING = Trace("doubling", 15 * MINUTE, _points((0, 2), (5, 2), (6, 4), (15, 4)))
LOAD_TRACES = (DIURNAL, RAMP, FLASH)


def attacks(refusal: float) -> tuple[Trace, ...]:
    """Half an hour each, with a quarter of each pod's loop. refusal: seconds of a loop for a refused request."""
    kinds = {
        "attack: requests over a limit": Attack(ATTACK, requests=ATTACK / refusal),
        "attack: large bodies that are refused": Attack(ATTACK, requests=200, size=ATTACK / 200 / READING),
        "attack: connections that are closed": Attack(ATTACK, connections=200),
        "attack: requests, more than the loop has time for": Attack(CROWDING, requests=CROWDING / refusal),
    }
    return tuple(Trace(name, 50 * MINUTE, _steady, attack=_between(10, 40, attack)) for name, attack in kinds.items())


def alike(trace: Trace, minutes: float) -> Trace:
    """The same in fewer minutes, for tests."""
    return Trace(trace.name, round(minutes * MINUTE), trace.load, trace.step, trace.attack)
