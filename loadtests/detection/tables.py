"""Labelled tables, standardised and dealt out: training rows, those that attackers own, those of honest tenants."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_breast_cancer, load_digits

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

VARIABLE = "ADBENCH"
FILES = {
    "magic": "22_magic.gamma",
    "cardio": "6_cardio",
    "annthyroid": "2_annthyroid",
    "pageblocks": "27_PageBlocks",
    "spambase": "35_SpamBase",
}
BUNDLED = {"digits": load_digits, "breast-cancer": load_breast_cancer}  # with scikit-learn
MOST_TRAINING_ROWS = 10_000
SAME = 1e-3  # nearer rows are one row: rounding alone comes to that


class Absent(RuntimeError):
    """The folder of tables is not there; the message tells where it is looked for."""


@dataclass(frozen=True)
class Table:
    """Rows with the training rows' mean 0 and deviation 1. owned: the attackers'; pool: the honest tenants'.

    No row stands in two of them.
    """

    name: str
    mean: Floats
    deviation: Floats
    train: Floats
    train_labels: Labels
    owned: Floats
    owned_labels: Labels
    pool: Floats
    pool_labels: Labels

    @property
    def features(self) -> int:
        return len(self.mean)

    def raw(self, rows: Floats) -> npt.NDArray[np.float32]:
        """As the model takes them."""
        return (rows * self.deviation + self.mean).astype(np.float32)


def load(name: str, folder: Path | None = None, seed: int = 0) -> Table:
    """Half of the rows train the model, a quarter belongs to attackers, a quarter to honest tenants.

    folder: of ADBench's .npz files; by default what the environment variable ADBENCH names. Raises Absent.
    """
    rows, labels = _read(name, folder)
    order = np.random.default_rng(seed).permutation(len(rows))
    rows, labels = rows[order], labels[order]
    trained = min(len(rows) // 2, MOST_TRAINING_ROWS)
    owned = trained + (len(rows) - trained) // 2
    mean, deviation = rows[:trained].mean(axis=0), rows[:trained].std(axis=0)
    deviation = np.where(deviation < 1e-9, 1.0, deviation)
    rows = (rows - mean) / deviation
    train, theirs, pool = slice(trained), slice(trained, owned), slice(owned, None)
    return Table(
        name, mean, deviation, rows[train], labels[train], rows[theirs], labels[theirs], rows[pool], labels[pool]
    )


def _read(name: str, folder: Path | None) -> tuple[Floats, Labels]:
    if name in BUNDLED:
        rows, labels = BUNDLED[name](return_X_y=True)
        return rows.astype(np.float64), labels.astype(np.int64)
    told = folder or os.environ.get(VARIABLE)
    path = Path(told or "") / f"{FILES[name]}.npz"
    if not told or not path.exists():
        raise Absent(f"no table {path}: {VARIABLE} or --tables names the folder of ADBench's .npz files")
    with np.load(path, allow_pickle=False) as file:
        return file["X"].astype(np.float64), file["y"].astype(np.int64).ravel()


def distances(rows: Floats, others: Floats) -> Floats:
    """Euclidean, (rows, others)."""
    squared = (rows * rows).sum(axis=1)[:, None] + (others * others).sum(axis=1) - 2 * rows @ others.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def spacing(rows: Floats, sample: int = 300, among: int = 3_000) -> float:
    """The median distance of a row to its nearest other row, of a sample: what is near here."""
    gaps = distances(rows[:sample], rows[:among])
    return float(np.median(np.where(gaps < SAME, np.inf, gaps).min(axis=1)))
