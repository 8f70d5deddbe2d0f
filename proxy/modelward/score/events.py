"""Anomalous requests and failed runs, told in the log: one line each, and no more than a reader can take."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from modelward_native.backend.engine import Engine

if TYPE_CHECKING:
    from modelward.score import Profile

log = logging.getLogger("modelward.anomaly")
failures_log = logging.getLogger("modelward.backend")

LINES_PER_ROUND = 10
KEPT = 64


class Anomaly(Struct, frozen=True):
    """One anomalous request. features: (name, signed standard deviations from what is usual), the worst first."""

    model: str
    version: str
    id: str
    row: int
    score: float
    p_value: float
    features: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        worst = ", ".join(f"{name} {deviation:+.1f} sd" for name, deviation in self.features)
        which = f" id {self.id!r}" if self.id else ""
        return (
            f"model {self.model} version {self.version}{which} row {self.row}: "
            f"anomaly score {self.score:.4g}, p-value {self.p_value:.2g}; {worst}"
        )


class AnomalyLog:
    """Names what the data plane's events hold by number, logs it, and keeps the last few."""

    def __init__(self) -> None:
        self.recent: deque[Anomaly] = deque(maxlen=KEPT)
        self._failures: dict[tuple[str, str], int] = {}

    def take(self, events: list[Any], profiles: dict[tuple[str, str], Profile | None]) -> None:
        """events: as modelward_native.request.server.Server.events gives them, the number of lost ones first."""
        lost, *found = events
        for event in found:
            profile = profiles[event["model"], event["version"]]
            assert profile is not None
            features = tuple((profile.layout.column_name(i), deviation) for i, deviation in event["features"])
            self.recent.append(
                Anomaly(
                    event["model"],
                    event["version"],
                    event["id"],
                    event["row"],
                    event["score"],
                    event["p_value"],
                    features,
                )
            )
        for anomaly in list(self.recent)[-min(len(found), LINES_PER_ROUND) :] if found else ():
            log.warning("%s", anomaly)
        left_out = lost + max(0, len(found) - LINES_PER_ROUND)
        if left_out:
            log.warning("%d more anomalous requests are not shown", left_out)

    def failures(self, engine: Engine) -> None:
        """Logs how often a model's runs have failed since the last call, with ONNX Runtime's last words."""
        key = engine.name, engine.version
        seen = self._failures.get(key, 0)
        # an engine that a reload has put in its place begins at zero
        new = engine.failures - seen if engine.failures >= seen else engine.failures
        if new:
            self._failures[key] = engine.failures
            failures_log.error("model %s version %s: %d runs failed, the last with: %s", *key, new, engine.last_failure)
