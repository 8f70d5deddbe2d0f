"""Evidence of a change at an unknown moment, with a stated rate of false alarms.

For each signal and bet there is a Shiryaev-Roberts sum over all moments at which the change may have been: what a
gambler would have who stakes 1 on every request from then on. While nothing changes, the sum less the number of
requests is a supermartingale, so that within m requests it reaches c with probability at most m / c. The sum of a
signal is the mean over its bets. An alarm is raised where one signal's sum reaches 2 * signals * false_alarms: within m
requests that has probability at most m / (2 * false_alarms), by the union over signals, and so the expected number of
requests until a false alarm is at least `false_alarms`. Nothing is assumed of how signals depend on each other.

A CUSUM beside each sum tells when the change was: it begins where the CUSUM was last zero.

Sources: Shin, Ramdas and Rinaldo, "E-detectors" (2024); Shiryaev (1963) and Roberts (1966); Page (1954).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
import numpy.typing as npt

from modelward.drift.bets import BETS, FIXED, LEVELS, LearntBets, fixed_tables, tolerant, weights

HIGHEST = 30.0
"""Nats above an alarm where sums stop growing, so that they come down again in bounded time."""
LOWERED = 5.0
"""Nats below an alarm where it ends."""

Doubles = npt.NDArray[np.float64]


class Evidence:
    def __init__(self, signals: int, false_alarms: float, tolerance: float) -> None:
        self._logs = tolerant(fixed_tables(), tolerance)
        self._learnt = LearntBets(signals, tolerance)
        self.alarm_at = log(2.0 * max(signals, 1) * false_alarms)
        self._weights = weights()
        self._sums = np.full((signals, BETS), -np.inf)
        self._cusums = np.zeros((signals, BETS))
        self._began = np.zeros((signals, BETS))

    def add(self, levels: npt.NDArray[np.uint8], requests: int, at: float) -> None:
        """levels (rows, signals) of a batch. requests: that the rows are of. at: when it began, which `since` tells."""
        signals = levels.shape[1]
        room = LEVELS + 1  # the last is UNRANKED
        flat = np.bincount((levels + np.arange(signals) * room).ravel(), minlength=signals * room)
        counts = flat.reshape(signals, room)[:, :LEVELS].astype(np.float64)
        made = np.empty((signals, BETS))
        made[:, :FIXED] = counts @ self._logs
        made[:, FIXED:] = self._learnt.logs(counts)
        highest = self.alarm_at + HIGHEST
        self._began = np.where(self._cusums <= 0.0, at, self._began)
        self._cusums = np.clip(self._cusums + made, 0.0, highest)
        self._sums = np.minimum(np.logaddexp(self._sums, log(requests)) + made, highest)

    def arrays(self) -> dict[str, Doubles]:
        """All that it knows, by name; they are the evidence's own."""
        return {"sums": self._sums, "cusums": self._cusums, "began": self._began, "lately": self._learnt.seen}

    def resume(self, arrays: Mapping[str, Doubles]) -> None:
        """Arrays as another has them, of the same shapes."""
        self._sums, self._cusums, self._began = arrays["sums"], arrays["cusums"], arrays["began"]
        self._learnt.seen = arrays["lately"]

    def nats(self) -> Doubles:
        """Of each signal: the logarithm of its sum; -inf at the beginning."""
        top = self._sums.max(axis=1, keepdims=True)
        if not np.isfinite(top).all():
            return np.full(len(self._sums), -np.inf)
        mean: Doubles = np.log(np.exp(self._sums - top) @ self._weights) + top[:, 0]
        return mean

    def since(self) -> Doubles:
        """Of each signal: `at` of the batch with which the change began, by its best bet."""
        best = self._cusums.argmax(axis=1)
        since: Doubles = self._began[np.arange(len(best)), best]
        return since
