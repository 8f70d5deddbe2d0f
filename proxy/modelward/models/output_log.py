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
        for output, guard, answers, row, value, request in served.guards.take_events():
            key = served.name, served.version, output, guard
            which = f" id {request!r}" if request else ""
            example = f"the last seen{which} row {row}: {value:g}"
            self._paced.add(key, answers, now, partial(_tell, key, example))


def _tell(key: tuple[str, str, str, str], example: str, answers: int) -> None:
    name, version, output, guard = key
    what = "model %s version %s: %d answers violate %s of output %s; %s"
    log.warning(what, name, version, answers, guard, output, example)
