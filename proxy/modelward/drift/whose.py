"""Whose change it is: the world's, which all versions of a model see, or one version's own."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

from modelward.drift.cause import Cause
from modelward.drift.table import silent
from modelward.drift.watch import Watch

QUIET = 0.5
"""Of the evidence for an alarm: a watch with less than this part of it speaks for no change."""


Sides = Mapping[str, Watch]
"""Watches of a version by side."""


def cause(version: str, watched: Mapping[str, Sides]) -> Cause:
    """watched: all versions of the model by name."""
    sides = watched.get(version, {})
    outputs = sides.get("outputs")
    if not any(_raised(sides, side) for side in ("inputs", "outputs")):
        return Cause.NONE
    if any(_raised(each, "inputs") for each in watched.values()):
        return Cause.WORLD
    others = [each["outputs"] for name, each in watched.items() if name != version and "outputs" in each]
    if any(other.raised is not None for other in others):
        return Cause.WORLD
    assert outputs is not None and outputs.raised is not None
    took = rows_since(outputs, outputs, outputs.raised.since, outputs.raised.at)
    told = [other for other in others if _is_quiet(other) and rows_since(other, outputs, outputs.raised.since) >= took]
    return Cause.OWN if told and "inputs" in sides and _is_quiet(sides["inputs"]) else Cause.UNCLEAR


def _raised(sides: Sides, side: str) -> bool:
    return side in sides and sides[side].raised is not None


def rows_since(watch: Watch, raised: Watch, since: float, until: float = float("inf")) -> int:
    """Of the watch, those that say something of the signal which the other has raised an alarm for."""
    assert raised.raised is not None
    last, first = watch.recent.table(), raised.raised.first
    # what is made of several columns is told by rows that are silent in none
    quiet = silent(last.values)
    if first < len(raised.columns):
        quiet = quiet[:, [column == raised.columns[first] for column in watch.columns]]
    times = last.time[~quiet.any(axis=1)]
    return int(((times >= since) & (times <= until)).sum())


def _is_quiet(watch: Watch) -> bool:
    nats = watch.nats()
    return watch.raised is None and len(nats) > 0 and float(nats.max()) < max(QUIET * watch.alarm_at, usual(watch))


def usual(watch: Watch) -> float:
    """Nats that chance alone brings in so many requests."""
    return log(max(watch.requests, 1)) + 2.0
