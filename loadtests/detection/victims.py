"""Classifiers that are attacked: trained here, served as ONNX models with declared class scores and a profile."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loadtests.detection import tables
from loadtests.detection.tables import Floats, Labels, Table
from modelward.score import Profile

INPUT, LABEL, SCORES = "X", "label", "probabilities"
VERSION = "1"

KINDS: dict[str, Callable[[int], Any]] = {
    "mlp": lambda rows: MLPClassifier((64, 32), max_iter=60, early_stopping=rows > 1500, random_state=0),
    "forest": lambda _: RandomForestClassifier(50, min_samples_leaf=2, random_state=0),
    "logistic": lambda _: LogisticRegression(max_iter=300),
}


@dataclass(frozen=True)
class Victim:
    """A model and the table that it was trained on."""

    kind: str
    table: Table
    model: bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return Victim, (self.kind, self.table, self.model)  # a session cannot be pickled

    @cached_property
    def session(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self.model, options)

    @property
    def name(self) -> str:
        return f"{self.table.name}-{self.kind}"

    @property
    def classes(self) -> int:
        return len(np.unique(self.table.train_labels))

    @cached_property
    def fallback(self) -> Floats:
        """Scores that the fallback gives to every row: how many of the training rows are what. As 32-bit floats."""
        shares = np.bincount(self.table.train_labels, minlength=self.classes) / len(self.table.train)
        return shares.round(4).astype(np.float32).astype(np.float64)

    def scores(self, rows: Floats) -> Floats:
        """What the model itself says of standardised rows, without a server: (rows, classes)."""
        found = self.session.run([SCORES], {INPUT: self.table.raw(np.atleast_2d(rows))})[0]
        return np.asarray(found, np.float64)

    def labels(self, rows: Floats) -> Labels:
        return np.asarray(self.scores(rows).argmax(axis=1), np.int64)

    def save(self, folder: Path) -> None:
        """FOLDER/1/model.onnx, and its profile."""
        version = folder / VERSION
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(self.model)
        Profile.fit({INPUT: self.table.raw(self.table.train)}).save(version / "profile.npz")


def train(table: Table, kind: str) -> Victim:
    fitted = make_pipeline(StandardScaler(), KINDS[kind](len(table.train)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is as good as it needs to be
        fitted.fit(table.raw(table.train), table.train_labels)
    options = {"zipmap": False}
    converted = to_onnx(fitted, table.raw(table.train[:1]), options=options, target_opset={"": 17, "ai.onnx.ml": 3})
    return Victim(kind, table, converted.SerializeToString())


def victim(name: str, folder: Path | None = None) -> Victim:
    """By name, such as magic-mlp. Raises tables.Absent."""
    table, _, kind = name.rpartition("-")
    return train(tables.load(table, folder), kind)
