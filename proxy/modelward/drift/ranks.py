"""Ranks of new values among all before them: uniform and independent while values come from one distribution.

Values are known by their bin, and ties are broken at random: the rank of a value is the number of earlier ones in lower
bins, plus a random part of those in its own, over all. That is a conformal p-value. It is exactly uniform however few
values there were, so that no error of a reference has to be allowed for: rows of the training data and all traffic so
far are the reference, which becomes better with each row.

Source: Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line" (2003).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from modelward.drift.bets import UNRANKED, level_of

BINS = 64
UNSEEN = BINS
"""In place of a bin where a row says nothing of a signal: it is not ranked, and nothing is ranked among it."""
GROUP = 32

Counts = npt.NDArray[np.int64]
Bins = npt.NDArray[np.uint8]


class Ranks:
    """counts (signals, BINS): how often each bin was seen. They grow, and are the whole state."""

    def __init__(self, counts: Counts, rng: np.random.Generator) -> None:
        self.counts = counts
        self._rng = rng

    def levels(self, bins: Bins, *, learn: bool) -> Bins:
        """Levels (rows, signals) of rows with `bins` (rows, signals), each among all rows before it, of the batch too.
        What is UNSEEN has the level UNRANKED. learn: whether the rows join those that later ones are ranked among."""
        rows, signals = bins.shape
        groups = -(-rows // GROUP)
        padded = np.full((groups * GROUP, signals), UNSEEN, np.uint8)  # a bin above all: no row is ranked above it
        padded[:rows] = bins
        grouped = padded.reshape(groups, GROUP, signals)
        below, same = self._in_group(grouped)
        each = self._histograms(grouped)
        before = np.cumsum(each, axis=0) - each + self.counts
        lower = np.cumsum(before, axis=2) - before
        at = np.minimum(grouped, BINS - 1) + np.arange(groups)[:, None, None] * (signals * BINS)
        at += np.arange(signals) * BINS
        below = below.reshape(-1, signals)[:rows] + lower.take(at).reshape(-1, signals)[:rows]
        same = same.reshape(-1, signals)[:rows] + before.take(at).reshape(-1, signals)[:rows]
        unseen = bins == UNSEEN
        seen = (~unseen).cumsum(axis=0) if unseen.any() else np.arange(1, rows + 1)[:, None]
        total = self.counts.sum(axis=1) + np.maximum(seen, 1)
        rank = below + self._rng.random((groups * GROUP, signals))[:rows] * (same + 1)
        if learn:
            self.counts = self.counts + each.sum(axis=0)
        levels = level_of(rank / total)
        levels[unseen] = UNRANKED
        return levels

    def forget(self, bins: Bins) -> None:
        """As if these rows had not been seen; never below none."""
        signals = bins.shape[1]
        flat = np.bincount((bins + np.arange(signals) * (BINS + 1)).ravel(), minlength=signals * (BINS + 1))
        self.counts = np.maximum(self.counts - flat.reshape(signals, BINS + 1)[:, :BINS], 0)

    @staticmethod
    def _in_group(grouped: Bins) -> tuple[Counts, Counts]:
        """Of each row: how many rows before it in its group are in lower bins, and how many in its own."""
        rows = np.ascontiguousarray(grouped.transpose(1, 0, 2))
        below, same = np.zeros(rows.shape, np.uint8), np.zeros(rows.shape, np.uint8)
        room = np.empty(rows.shape, np.bool_)
        for lag in range(1, GROUP):  # all rows at once with the one so far before them
            ours, theirs, held = rows[lag:], rows[:-lag], room[lag:]
            below[lag:] += np.less(theirs, ours, out=held).view(np.uint8)
            same[lag:] += np.equal(theirs, ours, out=held).view(np.uint8)
        return below.transpose(1, 0, 2).astype(np.int64), same.transpose(1, 0, 2).astype(np.int64)

    @staticmethod
    def _histograms(grouped: Bins) -> Counts:
        groups, _, signals = grouped.shape
        cell = np.arange(groups)[:, None, None] * signals + np.arange(signals)
        flat = (cell * (BINS + 1) + grouped).ravel()
        counts = np.bincount(flat, minlength=groups * signals * (BINS + 1))
        return counts.reshape(groups, signals, BINS + 1)[:, :, :BINS].astype(np.int64)
