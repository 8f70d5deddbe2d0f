"""`Profile`: what a model was trained on, and how unlike that a row is."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from modelward.score import calibration, choice, geometry, layout, store, words
from modelward.score.calibration import Calibration
from modelward.score.errors import ProfileError
from modelward.score.geometry import Geometry
from modelward.score.layout import Data, Layout, Rows
from modelward.score.words import Words
from modelward_native.score import score as native_score

MIN_ROWS = 20  # with fewer there is no tail to speak of
# Rows that centroids and calibration are drawn from, at random; ranges and categories are learnt from all.
MAX_FIT_ROWS = 20_000
MAX_FIT_VALUES = 20_000_000  # the same for rows with thousands of features, which is a gigabyte of work space

Doubles = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]


class Deviation(Struct, frozen=True):
    """One unusual column of a row: its name and index (features first, then category columns), its raw value, and by
    how many standard deviations it differs from the nearest prototype, signed; from the training mean where the row
    holds NaN, an infinity or a value out of range. NaN, infinities and unknown categories deviate by infinity."""

    name: str
    index: int
    value: float | bytes
    deviation: float


@dataclass(frozen=True)
class Profile:
    """The training profile of a model, fitted by `fit` or read by `load`; immutable.

    `X` everywhere is a numeric table (n, features), or a mapping {input name: array with n rows first}; an input with
    string values is BYTES, and an input whose elements per row vary is a sequence of n arrays.
    """

    layout: Layout
    geometry: Geometry
    calibration: Calibration
    words: Words
    trained_rows: int

    @classmethod
    def fit(cls, X: Data, *, varying: Collection[str] = (), seed: int = 0, progress: Progress | None = None) -> Profile:
        """The profile of training rows X, n >= 20, which hold ordinary rows and only those.

        varying: inputs whose elements per row the model leaves open (modelward.score.layout says what becomes of them).
        seed: equal rows and seed give an equal profile. progress(stage, done, total) is called as parts finish.
        Rows with NaN or infinities, too few rows, and inputs of different length raise ProfileError (a ValueError).
        """
        arrays = layout.tables(X)
        plan = layout.infer(arrays, varying)
        rows = Rows.extract(plan, arrays)
        count = len(rows.features)
        if count < MIN_ROWS:
            raise ProfileError(f"{count} training rows are too few: a profile needs {MIN_ROWS}, better thousands")
        layout.check_finite(plan, rows.features)
        rng = np.random.default_rng(seed)
        wanted = min(count, MAX_FIT_ROWS, max(2_000, MAX_FIT_VALUES // max(1, plan.features)))
        sample = rows.features[rng.permutation(count)[:wanted]]
        vocabulary = words.learn([[v for row in column for v in row] for column in rows.categories])

        steps = calibration.FOLDS + 2
        report = progress or (lambda stage, done, total: None)
        report("choosing", 0, steps)
        chosen = geometry.choose(sample, rng)
        scores = np.empty(wanted)
        for fold in range(calibration.FOLDS):
            report("calibrating", 1 + fold, steps)
            held = slice(fold, None, calibration.FOLDS)  # the sample is shuffled: every tenth row is a random part
            shape = geometry.fit(np.delete(sample, held, axis=0), chosen, rng, calibration.PART)
            scores[held] = bare_kernel(shape).measure(sample[held])[0]
        report("fitting", steps - 1, steps)
        shape = geometry.fit(sample, chosen, rng)
        if wanted < count:
            shape = geometry.widened(shape, rows.features)
        report("done", steps, steps)
        return cls(plan, shape, calibration.calibrate(scores), vocabulary, count)

    def score(self, X: Data) -> Doubles:
        """Anomaly scores (n,), higher is more anomalous: the weighted mean distance to the nearest training rows
        (modelward.score.geometry). score.score.LIMIT for a row that holds NaN, an infinity, a value out of range or an
        unknown category."""
        return self._measure(X)[0]

    def p_value(self, X: Data) -> Doubles:
        """p-values (n,): the probability that an ordinary row scores at least as high (score.calibration); 0 for
        rows whose score is the limit. A row is anomalous at a false positive rate r where its p-value is at most r."""
        return self._measure(X)[1]

    def flags(self, X: Data) -> npt.NDArray[np.uint32]:
        """Why rows (n,) were caught before any distance: score.score.NOT_A_NUMBER, OUT_OF_RANGE, UNKNOWN_CATEGORY,
        or-ed."""
        return self._measure(X)[2]

    def explain(self, x: Data) -> list[Deviation]:
        """The three columns of one row that deviate most, worst first; x is (features,), (1, features) or a mapping
        whose arrays have one row."""
        if not isinstance(x, Mapping):
            x = np.atleast_2d(np.asarray(x))
        rows = self.layout.rows(x)
        if len(rows.features) != 1:
            raise ProfileError(f"one row is explained at a time, not {len(rows.features)}")
        unknown = self._unknown(rows)[0]
        columns, deviations = self.kernel.explain(rows.features[0], unknown)
        return [
            Deviation(self.layout.column_name(c), c, self._value(rows, c), d)
            for c, d in zip(columns.tolist(), deviations.tolist(), strict=True)
        ]

    def threshold(self, false_positive_rate: float) -> float:
        """The score from which on rows are anomalous at this rate, 0 < rate <= 1."""
        return self.calibration.threshold(false_positive_rate)

    def matches(self, inputs: Mapping[str, tuple[str, Sequence[int]]]) -> str | None:
        """None where the profile fits a model with these inputs, {name: (V2 datatype, shape of one row, -1 for a
        dynamic dimension)}; otherwise the reason why it does not, as a sentence."""
        return layout.mismatch(self.layout, inputs)

    def describe(self) -> dict[str, Any]:
        """What `profile show` prints: rows, the space of distances ("plain" or "two views"), how many nearest rows they
        are measured to, cells, prototypes, the score at which common rates begin, and per input its kind,
        elements per row (None where they vary), features, and for BYTES the number of known categories per column
        (None for a column whose values are too varied to be categories)."""
        inputs = []
        for i in self.layout.inputs:
            entry: dict[str, Any] = {
                "name": i.name,
                "kind": layout.KIND_NAMES[i.kind],
                "datatype": "BYTES" if i.is_text else "numeric",
                "elements": None if i.elements < 0 else i.elements,
            }
            if i.is_text:
                columns = range(i.first, i.first + i.width)
                entry["categories"] = [None if self.words.is_open[c] else len(self.words.column(c)) for c in columns]
            else:
                entry["features"] = i.width
            inputs.append(entry)
        return {
            "trained_rows": self.trained_rows,
            "features": self.layout.features,
            "space": choice.PLAIN if self.geometry.views is None else choice.TWO_VIEWS,
            "neighbours": len(self.geometry.weights),
            "cells": len(self.geometry.cells.means),
            "prototypes": len(self.geometry.cells.counts),
            "thresholds": {str(rate): self.threshold(rate) for rate in (0.05, 0.01, 0.001)},
            "inputs": inputs,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the profile as .npz; a file that is there is replaced at once or not at all."""
        parts = store.Parts(self.layout, self.geometry, self.calibration, self.words, self.trained_rows)
        store.save(path, parts)

    @classmethod
    def load(cls, path: str | os.PathLike[str], data: bytes | None = None) -> Profile:
        """Reads and checks a profile; nothing in the file is trusted. ProfileError says what is wrong with it.

        data: the bytes of the file, where they were read before.
        """
        profile = cls(*store.load(path, data))
        try:
            _ = profile.kernel
        except ValueError as error:
            raise ProfileError(f"{os.fspath(path)} is not a usable profile: {error}; fit it again") from error
        return profile

    @cached_property
    def kernel(self) -> native_score.Kernel:
        """The profile in the data plane's memory."""
        inputs = [(i.kind, i.elements, i.first, i.width) for i in self.layout.inputs]
        return native_score.Kernel(
            inputs=np.array(inputs, native_score.input_type()),
            **_kernel_geometry(self.geometry),
            knot_score=self.calibration.knot_score,
            knot_p=self.calibration.knot_p,
            tail_index=self.calibration.tail_index,
            text=self.words.text,
            words=self.words.starts,
            column_words=self.words.columns,
            is_open=self.words.is_open,
        )

    @cached_property
    def _known(self) -> list[frozenset[bytes] | None]:
        open_columns = self.words.is_open.tolist()
        return [None if is_open else frozenset(self.words.column(c)) for c, is_open in enumerate(open_columns)]

    def _measure(self, X: Data) -> native_score.Measured:
        rows = self.layout.rows(X)
        return self.kernel.measure(rows.features, self._unknown(rows))

    def _unknown(self, rows: Rows) -> npt.NDArray[np.bool_]:
        out = np.zeros((len(rows.features), self.layout.columns), np.bool_)
        for c, known in enumerate(self._known):
            if known is not None:
                out[:, c] = [not known.issuperset(values) for values in rows.categories[c]]
        return out

    def _value(self, rows: Rows, column: int) -> float | bytes:
        if column < self.layout.features:
            return float(rows.features[0, column])
        c = column - self.layout.features
        known, values = self._known[c], rows.categories[c][0]
        strange = [v for v in values if known is not None and v not in known]
        return (strange or values or [b""])[0]


def _kernel_geometry(shape: Geometry) -> dict[str, Any]:
    two = shape.views
    return {
        "mean": shape.mean,
        "scale": shape.scale,
        "low": shape.low,
        "high": shape.high,
        "views": None if two is None else (two.middle, two.quartile, two.knots, two.normals, two.metric),
        "means": shape.cells.means,
        "radius": shape.cells.radius,
        "first": shape.cells.first,
        "prototypes": shape.cells.prototypes,
        "counts": shape.cells.counts,
        "weights": shape.weights,
    }


def bare_kernel(shape: Geometry) -> native_score.Kernel:
    """A kernel of numeric features and no calibration yet: what scores rows that were held back."""
    features = len(shape.mean)
    return native_score.Kernel(
        inputs=np.array([(native_score.VALUES, features, 0, features)], native_score.input_type()),
        **_kernel_geometry(replace(shape, low=np.full(features, -np.inf), high=np.full(features, np.inf))),
        knot_score=np.zeros(1),
        knot_p=np.ones(1),
        tail_index=1.0,
        text=np.zeros(0, np.uint8),
        words=np.zeros(1, np.uint64),
        column_words=np.zeros(1, np.int64),
        is_open=np.zeros(0, np.uint8),
    )
