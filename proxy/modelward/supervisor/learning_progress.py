"""What operators are told of learning by the log: that it has begun, and which answers locked cells have cost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from modelward.detect.progress import PHASES, Progress
from modelward_native.detect.watch import progress
from modelward_native.region.region import Region

log = logging.getLogger("modelward.detect")

MINUTE_SECONDS = 60.0


class LearningProgress:
    """Call `look` now and then."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._withheld: Mapping[str, Mapping[str, int]] = {}
        self._logged: dict[str, float] = {}

    def look(self, models: Iterable[Progress], withheld: Mapping[str, Mapping[str, int]], at: float) -> None:
        """withheld: answers of each model so far, by what callers got in their place. at: seconds, monotonic."""
        for each in models:
            if each.model not in self._told and each.phase:
                self._told.add(each.model)
                if each.phase != PHASES[-1]:
                    log.info("model %s learns what its callers send: %s", each.model, each.words)
        told = dict(self._withheld)
        for model, counts in withheld.items():
            new = {got: count - told.get(model, {}).get(got, 0) for got, count in counts.items()}
            if not any(new.values()) or at - self._logged.get(model, -MINUTE_SECONDS) < MINUTE_SECONDS:
                continue
            self._logged[model], told[model] = at, counts
            words = ", ".join(f"{count} the {WORDS[got]}" for got, count in new.items() if count)
            log.warning(
                "model %s: callers got for where their rows lie, in place of its answer: %s (detection acts)",
                model, words, extra={"fields": {"model": model, "withheld": new}},
            )  # fmt: skip
        self._withheld = told


WORDS = {"fallback": "fallback", "top_class": "top class of rows near them"}


def progress_of(region: Region, models: Iterable[str], now_ns: int) -> list[Progress]:
    """Of each of these models; of several profiles, the one that is least far."""
    found: dict[str, Progress] = {}
    for model, phase, rows, needed, fewer, seconds, locked in progress(region, now_ns):
        least = found.get(model)
        this = Progress(model, phase, rows, needed, fewer, seconds, locked)
        if least is None or (PHASES.index(phase), rows) < (PHASES.index(least.phase), least.rows):
            found[model] = this
    return [found.get(model, Progress(model)) for model in models]
