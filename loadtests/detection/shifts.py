"""Tables as traffic that changes: six kinds of change, each in three sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtests.detection.tables import Absent
from modelward.score.kmeans import centroids, nearest

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

NAMES = (
    "12_fault",
    "20_letter",
    "22_magic.gamma",
    "27_PageBlocks",
    "29_Pima",
    "2_annthyroid",
    "31_satimage-2",
    "32_shuttle",
    "44_Wilt",
    "6_cardio",
)
MOST_COLUMNS = 10
MOST_ROWS = 20_000
GROUPS = 8

KINDS = {
    "mean": (0.25, 0.5, 1.0),
    "scale": (1.25, 1.5, 2.0),
    "clusters": (0.1, 0.2, 0.4),
    "rounding": (0.5, 1.0, 2.0),
    "missing": (0.02, 0.05, 0.2),
    "correlation": (0.25, 0.5, 1.0),
}
"""By kind its sizes. mean: by so many deviations; scale: times that; rounding: to multiples of so many deviations;
missing: share of the values. These change a quarter of the columns. clusters: so many of the rows come from one of
eight groups; correlation: in so many each column is drawn by itself."""


@dataclass(frozen=True)
class Traffic:
    """rows: of the table, standardised; traffic is drawn from them with replacement."""

    name: str
    rows: Floats

    @classmethod
    def load(cls, name: str, folder: Path) -> Traffic:
        """Raises Absent."""
        path = folder / f"{name}.npz"
        if not path.exists():
            raise Absent(f"no table {path}: ADBENCH or --tables names the folder of ADBench's .npz files")
        with np.load(path, allow_pickle=False) as file:
            rows = file["X"].astype(np.float64)
        kept = rows[np.random.default_rng(0).permutation(len(rows))[:MOST_ROWS]]
        kept = kept[:, np.linspace(0, rows.shape[1] - 1, min(rows.shape[1], MOST_COLUMNS)).astype(int)]
        deviation = kept.std(axis=0)
        return cls(name, (kept - kept.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        return self.rows[rng.integers(0, len(self.rows), count)]

    def changed(self, kind: str, size: float, seed: int) -> Draw:
        """Draws rows after the change. seed: decides which columns, or which group."""
        rng = np.random.default_rng(1000 + seed)
        columns = rng.permutation(self.rows.shape[1])[: max(1, self.rows.shape[1] // 4)]
        own = self._group(rng) if kind == "clusters" else self.rows
        signs = rng.choice([-1.0, 1.0], len(columns))

        def draw(rng: np.random.Generator, count: int) -> Floats:
            rows = self.draw(rng, count)
            some = rng.random(count) < size
            if kind == "mean":
                rows[:, columns] += size * signs
            elif kind == "scale":
                rows[:, columns] *= size
            elif kind == "clusters":
                rows[some] = own[rng.integers(0, len(own), int(some.sum()))]
            elif kind == "rounding":
                rows[:, columns] = np.round(rows[:, columns] / size) * size
            elif kind == "missing":
                rows[:, columns] = np.where(rng.random((count, len(columns))) < size, np.nan, rows[:, columns])
            else:
                apart = [self.draw(rng, int(some.sum()))[:, i] for i in range(rows.shape[1])]
                rows[some] = np.stack(apart, axis=1)
            return rows

        return draw

    def _group(self, rng: np.random.Generator) -> Floats:
        """The rows of the group that is nearest to a tenth of all."""
        points = self.rows.astype(np.float32)
        of = nearest(points, centroids(points, GROUPS, rng)[0])
        sizes = np.bincount(of)
        group: Floats = self.rows[of == np.abs(sizes - len(self.rows) / 10).argmin()]
        return group
