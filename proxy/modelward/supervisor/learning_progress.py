"""What operators are told of learning by the log: that it has begun, what locked cells have cost, common faults."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from modelward.detect.progress import PHASES, Progress
from modelward_native.detect.watch import progress
from modelward_native.region.region import Region

log = logging.getLogger("modelward.detect")

MINUTE_SECONDS = 60.0
FAULT_SECONDS = 600.0
"""After which a fault that lasts is told again."""


class _Told(Struct):
    """Of a common fault. identities: that were told; most: that had it at once since it began."""

    at: float
    identities: int
    most: int


class LearningProgress:
    """Call `look` now and then."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._withheld: Mapping[str, Mapping[str, int]] = {}
        self._logged: dict[str, float] = {}
        self._faults: dict[str, _Told] = {}

    def look(self, models: Iterable[Progress], withheld: Mapping[str, Mapping[str, int]], at: float) -> None:
        """withheld: answers of each model so far, by what callers got in their place. at: seconds, monotonic."""
        for each in models:
            if each.model not in self._told and each.phase:
                self._told.add(each.model)
                if each.phase != PHASES[-1]:
                    log.info("model %s learns what its callers send: %s", each.model, each.words)
            self._look_at_fault(each, at)
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

    def _look_at_fault(self, each: Progress, at: float) -> None:
        before = self._faults.get(each.model)
        if not each.fault_seconds:
            if before:
                del self._faults[each.model]
                log.warning(
                    "the fault before callers of model %s ended: %d identities had it at once, at most",
                    each.model, before.most, extra={"fields": {"model": each.model, "identities": before.most}},
                )  # fmt: skip
            return
        most = max(each.failing, before.most if before else 0)
        if before and at - before.at < FAULT_SECONDS and each.failing < 2 * before.identities:
            before.most = most
            return
        self._faults[each.model] = _Told(at, each.failing, most)
        until = f"{datetime.fromtimestamp(time.time() + each.fault_seconds, UTC):%Y-%m-%d %H:%M:%SZ}"
        log.warning(
            "model %s: %d established identities, at least half of those that ask, send implausible rows, or rows very "
            "unlike the training data. That is taken for a fault before all: until %s such rows are tolerated from "
            "identities that have a history and were not suspicious before",
            each.model, each.failing, until,
            extra={"fields": {"model": each.model, "identities": each.failing, "until": until}},
        )  # fmt: skip


WORDS = {"fallback": "fallback", "top_class": "top class of rows near them"}


def progress_of(region: Region, models: Iterable[str], now_ns: int) -> list[Progress]:
    """Of each of these models; of several profiles, the one that is least far."""
    found: dict[str, Progress] = {}
    for each in progress(region, now_ns):
        this = Progress(*each)
        before = found.get(this.model, this)
        least = min(before, this, key=lambda of: (PHASES.index(of.phase), of.rows))
        fault = max(before, this, key=lambda of: of.fault_seconds)
        found[this.model] = replace(least, fault_seconds=fault.fault_seconds, failing=fault.failing)
    return [found.get(model, Progress(model)) for model in models]
