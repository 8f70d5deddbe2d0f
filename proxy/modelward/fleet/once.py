"""What is wrong with a fleet, as its log is told: of each kind one line a minute, of however many it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf

LOG_SECONDS = 60.0


class OnceAMinute:
    """log: where it is told. clock: monotonic seconds."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}

    def say(self, about: str, level: int, text: str, *words: object, exc_info: bool = False) -> None:
        """about: of a few kinds. The next line of a kind says how many were left out."""
        at, left_out = self._told.get(about, (-inf, 0))
        if (now := self._clock()) - at < LOG_SECONDS:
            self._told[about] = at, left_out + 1
            return
        self._told[about] = now, 0
        more = f" (and {left_out} more like it since the last such line)" if left_out else ""
        self._log.log(level, text + "%s", *words, more, exc_info=exc_info)
