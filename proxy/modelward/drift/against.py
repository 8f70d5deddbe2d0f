"""What clients send now, feature by feature, against the training rows: told whether there is an alarm or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from modelward.drift.watch import Watch
from modelward.observe.source import Source, Trained

FEWEST_ROWS = 64
"""Of the last rows, for a comparison."""


def against_training(watch: Watch, source: Source) -> list[dict[str, Any]]:
    """Of each feature that the watch has and the profile tells of, the farthest first: `distance`, the share of rows
    that lie elsewhere, at least about that many (total variation less what chance gives); `missing`; `bars`, with the
    shares of the training rows and of the last rows up to a value. Empty while there are hardly any rows."""
    last = watch.recent.table()
    if len(last) < FEWEST_ROWS:
        return []
    at = {column.name: i for i, column in enumerate(watch.columns)}
    names = source.columns
    found = [
        _compared(names[each.feature], last.values[:, at[names[each.feature]]], each)
        for each in source.trained
        if each.feature < len(names) and names[each.feature] in at
    ]
    return sorted(found, key=lambda each: -each["distance"])


def _compared(name: str, values: np.ndarray, trained: Trained) -> dict[str, Any]:
    missing = np.isnan(values)
    bars = np.searchsorted(trained.edges, values[~missing])
    now = np.bincount(bars, minlength=len(trained.shares)) / len(values)
    before = np.array(trained.shares)
    chance = 0.5 * sqrt(2 / np.pi) * float(np.sqrt(before * (1 - before) / len(values)).sum())
    # what is missing was not in training
    distance = 0.5 * (float(np.abs(before - now).sum()) + float(missing.mean())) - chance
    return {
        "name": name,
        "rows": len(values),
        "distance": max(0.0, distance),
        "missing": float(missing.mean()),
        "bars": _bars(trained.edges, before, now),
    }


def _bars(edges: Sequence[float], before: np.ndarray, now: np.ndarray) -> list[Mapping[str, Any]]:
    ends = [*edges, None]
    return [{"up_to": end, "training": float(a), "now": float(b)} for end, a, b in zip(ends, before, now, strict=True)]
