"""What was observed of one version as two tables of numbers: inputs and outputs, a row each.

A category is the number that its hash gives as a double: equal values stay equal, which is all that is asked of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from modelward.observe.batch import Batch
from modelward_native.observe.reader import BY_MODEL, REFUSED

MOST_COLUMNS = 128
"""Of one side; of more, this many evenly spaced ones."""
MOST_OUTPUT_ELEMENTS = 16

Doubles = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]
Names = tuple["Column", ...]


class Kind(StrEnum):
    NUMBER = "number"
    CATEGORY = "category"
    P_VALUE = "p-value"
    """Of the profile: uniform while rows are like the training data, so that no rows before it are needed."""


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind


@dataclass(frozen=True)
class Table:
    """values (rows, columns), NaN where missing; identity and time (s since 1970) of each row; request: a number that
    rows of one request share."""

    columns: Names
    values: Doubles
    identity: npt.NDArray[np.uint64]
    time: Doubles
    request: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def of(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Table:
        return Table(self.columns, self.values[rows], self.identity[rows], self.time[rows], self.request[rows])

    @classmethod
    def joined(cls, tables: list[Table]) -> Table:
        """Of the same columns, in their order; requests of different tables stay different."""
        ends = np.cumsum([0, *(int(each.request.max(initial=-1)) + 1 for each in tables)])
        return cls(
            tables[0].columns,
            np.concatenate([each.values for each in tables]),
            np.concatenate([each.identity for each in tables]),
            np.concatenate([each.time for each in tables]),
            np.concatenate([each.request + end for each, end in zip(tables, ends.tolist(), strict=False)]),
        )


def inputs_of(batch: Batch, rows: Chosen) -> Table:
    """Of the requests that were answered: features and categories of the profile and its score; without a profile, the
    elements of the inputs."""
    columns: list[tuple[Column, Doubles]] = []
    if batch.source.layout is not None:
        names = batch.source.columns
        for i in range(batch.features.shape[1]):
            columns.append((Column(names[i], Kind.NUMBER), batch.features[:, i].astype(np.float64)))
        for i in range(batch.categories.shape[1]):
            name = names[batch.features.shape[1] + i]
            columns.append((Column(name, Kind.CATEGORY), batch.categories[:, i].astype(np.float64)))
    else:
        for name, array in batch.inputs.items():
            columns += _elements(name, array)
    columns = _spaced(columns)
    if batch.source.layout is not None:
        columns.append((Column("anomaly score", Kind.NUMBER), batch.score.astype(np.float64)))
    return _table(batch, columns, rows & (batch.answered_by != REFUSED))


def training_of(batch: Batch, rows: Chosen) -> Table:
    """p-values of the requests that were answered, where there is a profile."""
    found = rows & (batch.answered_by != REFUSED) & ~np.isnan(batch.p_value)
    return _table(batch, [(Column("likeness to the training data", Kind.P_VALUE), batch.p_value)], found)


def outputs_of(batch: Batch, rows: Chosen) -> Table:
    """Of the requests that the model itself answered: of class scores the label and the highest score, of other outputs
    their elements."""
    columns: list[tuple[Column, Doubles]] = []
    for name, array in batch.outputs.items():
        if name in batch.source.classes and array.dtype != object and array.shape[1] > 1:
            known = np.isfinite(array).all(axis=1)
            label = np.where(known, array.argmax(axis=1), np.nan)
            columns.append((Column(f"label of {name}", Kind.CATEGORY), label))
            columns.append((Column(f"highest of {name}", Kind.NUMBER), np.where(known, array.max(axis=1), np.nan)))
        columns += _spaced(list(_elements(name, array)), MOST_OUTPUT_ELEMENTS)
    return _table(batch, _spaced(columns), rows & (batch.answered_by == BY_MODEL))


def _elements(name: str, array: npt.NDArray[np.object_] | Doubles) -> Iterator[tuple[Column, Doubles]]:
    single = array.shape[1] == 1
    for i in range(array.shape[1]):
        told = name if single else f"{name}[{i}]"
        if array.dtype == object:
            hashes = [np.nan if v is None else float(zlib.crc32(bytes(v))) for v in array[:, i].tolist()]
            yield Column(told, Kind.CATEGORY), np.array(hashes)
        else:
            yield Column(told, Kind.NUMBER), array[:, i].astype(np.float64)


def _spaced(columns: list[tuple[Column, Doubles]], most: int = MOST_COLUMNS) -> list[tuple[Column, Doubles]]:
    return [columns[i] for i in spaced(len(columns), most)]


def spaced(count: int, most: int = MOST_COLUMNS) -> list[int]:
    """Which of so many columns are watched."""
    return list(range(count)) if count <= most else np.linspace(0, count - 1, most).astype(int).tolist()


def _table(batch: Batch, columns: list[tuple[Column, Doubles]], rows: Chosen) -> Table:
    values = np.column_stack([values for _, values in columns]) if columns else np.empty((len(batch), 0))
    names = tuple(column for column, _ in columns)
    return Table(names, values, batch.identity, batch.time, batch.request).of(rows)
