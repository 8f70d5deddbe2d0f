"""Answers that were not as the guards of their outputs say, told in the log: one line for each guard and pause."""

from __future__ import annotations

import logging
from functools import partial

from modelward.telemetry.paced import Paced
from modelward_native.request.served import Served

log = logging.getLogger("modelward.outputs")


class OutputLog:
    """Of one process. take is to be called about once a second for every version."""

    def __init__(self) -> None:
        self._paced = Paced()

    def take(self, served: Served, now: float) -> None:
        if served.guards is None:
            return
        for output, guard, answers, row, value, other, request in served.guards.take_events():
            key = served.name, served.version, output, guard
            which = f" id {request!r}" if request else ""
            example = f"the last seen{which}{seen(guard, row, value, other)}"
            self._paced.add(key, answers, now, partial(_tell, key, example))


def seen(guard: str, row: int, value: float, other: float) -> str:
    """What an answer shows that is not as its guard says. row: -1 for none. other: what the value is compared with."""
    if guard == "budget":
        return f" asks for {value:g}"
    if guard == "mean":
        return f": a mean of {value:g}, after means of {other:g}"
    if row < 0:
        return "" if guard == "readable" else ": the other tensor has no such rows or columns"
    told = {
        "sum": f"adds up to {value:g}",
        "not_above": f"{value:g}, above {other:g}",
        "not_below": f"{value:g}, below {other:g}",
        "rises_with": f"{value:g}, after {other:g}",
        "falls_with": f"{value:g}, after {other:g}",
    }.get(guard, f"{value:g}")
    return f" row {row}: {told}"


def _tell(key: tuple[str, str, str, str], example: str, answers: int) -> None:
    name, version, output, guard = key
    what = "model %s version %s: %d answers violate %s of output %s; %s"
    log.warning(what, name, version, answers, guard, output, example)
