"""Requests that were not mirrored to a shadow, summed up in the log: a line for each shadow every few seconds."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelward.telemetry.refusals import SECONDS

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Stats

log = logging.getLogger("modelward.shadow")

# shadows of one round; of more, the number is told
SHADOWS_PER_ROUND = 20

Counts = dict[tuple[str, str], Counter[str]]  # by model and shadow


class DropLog:
    """take: once every SECONDS, with stats as modelward_native.shadow.shadows.totals gives them, of all processes."""

    def __init__(self) -> None:
        self._before: Counts = {}

    def take(self, stats: Mapping[tuple[str, str, str], Stats]) -> None:
        now: Counts = {}
        for (model, _, shadow), total in stats.items():
            now.setdefault((model, shadow), Counter()).update(total.sums()["dropped"])
        fresh = {key: new for key, counts in now.items() if (new := counts - self._before.get(key, Counter()))}
        for (model, shadow), new in [*fresh.items()][:SHADOWS_PER_ROUND]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in new.most_common())
            what = (
                f"model {model}: {new.total()} requests not mirrored to shadow {shadow} in {SECONDS:.0f} s: {reasons}"
            )
            fields = {"model": model, "shadow": shadow, "seconds": SECONDS, "dropped": dict(new)}
            log.info("%s", what, extra={"fields": fields})
        if len(fresh) > SHADOWS_PER_ROUND:
            log.info("%d more shadows did not get all requests", len(fresh) - SHADOWS_PER_ROUND)
        self._before = now
