"""What was observed of one version as two tables of numbers: inputs and outputs, a row each.

A category is the number that its hash gives as a double: equal values stay equal, which is all that is asked of them.
Columns follow from what a version is described as, so that no request changes them. A cell is silent where the row says
nothing of its column: the client did not ask for that output, or the tensor was too large to be kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from modelward.observe.batch import Batch
from modelward.observe.source import Tensor
from modelward.observe.tensors import Tensors
from modelward.rpc.contents import Array
from modelward_native.observe.reader import BY_MODEL, REFUSED

MOST_COLUMNS = 128
"""Of one side; of more, this many evenly spaced ones."""
MOST_OUTPUT_ELEMENTS = 16
SILENT = 0x7FF8_0000_0000_051E
"""Bits of the NaN in silent cells; a missing value is any other."""
SUMMARY = ("elements", "lowest", "mean", "highest", "first", "last")
"""What is watched of a tensor whose rows have no fixed number of elements; of BYTES, what needs no order."""
BYTES_SUMMARY = ("elements", "first", "last")

Doubles = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]
Names = tuple["Column", ...]
Words = list[str]


class Kind(StrEnum):
    NUMBER = "number"
    CATEGORY = "category"
    P_VALUE = "p-value"
    """Of the profile: uniform while rows are like the training data, so that no rows before it are needed."""


class Column(Struct, frozen=True):
    name: str
    kind: Kind


SCORE = Column("anomaly score", Kind.NUMBER)
LIKENESS = Column("likeness to the training data", Kind.P_VALUE)


class Table(Struct, frozen=True):
    """values (rows, columns), NaN where missing or silent; identity and time (s since 1970) of each row;
    request: a number that rows of one request share."""

    columns: Names
    values: Doubles
    identity: npt.NDArray[np.uint64]
    time: Doubles
    request: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def of(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> Table:
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
    answered = rows & (batch.answered_by != REFUSED)
    if batch.source.layout is None:
        kept = np.repeat(batch.inputs_kept[:, None], len(batch.source.inputs), axis=1)
        columns, values = _read(batch, batch.source.inputs, batch.asked, kept, MOST_COLUMNS)
        return _table(batch, *_spaced(columns, values), answered)
    columns = _of_profile(batch.source.columns, batch.features.shape[1], batch.categories.shape[1])
    columns, values = _spaced(columns, np.concatenate([batch.features, batch.categories], axis=1, dtype=np.float64))
    return _table(batch, (*columns, SCORE), np.concatenate([values, batch.score[:, None]], axis=1), answered)


def training_of(batch: Batch, rows: Chosen) -> Table:
    """p-values of the requests that were answered, where there is a profile."""
    found = rows & (batch.answered_by != REFUSED) & ~np.isnan(batch.p_value)
    return _table(batch, (LIKENESS,), batch.p_value[:, None], found)


def outputs_of(batch: Batch, rows: Chosen) -> Table:
    """Of the requests that the model itself answered: of class scores the label and the highest score, of other outputs
    their elements. An output that was asked for and is not in the answer is missing."""
    columns, values = _read(batch, batch.source.outputs, batch.answers, batch.outputs_asked, MOST_OUTPUT_ELEMENTS)
    return _table(batch, *_spaced(columns, values), rows & (batch.answered_by == BY_MODEL))


@lru_cache(64)
def _of_profile(names: tuple[str, ...], features: int, categories: int) -> Names:
    kinds = [Kind.NUMBER] * features + [Kind.CATEGORY] * categories
    return tuple(Column(names[i], kind) for i, kind in enumerate(kinds))


def silent(values: Doubles) -> Chosen:
    """Which cells are."""
    found: Chosen = values.view(np.uint64) == SILENT
    return found


def silence(values: Doubles, cells: Chosen) -> None:
    values.view(np.uint64)[cells] = SILENT


def _read(batch: Batch, tensors: Sequence[Tensor], found: Tensors, told: Chosen, most: int) -> tuple[Names, Doubles]:
    """found: tensors of each request. told (rows, tensors): of which tensor a row says something. most: elements that
    are watched of each."""
    names: list[Column] = []
    watched: list[Doubles] = []
    for i, tensor in enumerate(tensors):
        width, is_text = found.width(tensor), tensor.datatype == "BYTES"
        words, elements, columns = _places(tensor.name, width, is_text, tensor.name in batch.source.classes, most)
        values = np.full((len(batch), len(columns)), np.nan)
        for at, part in found.parts(tensor):
            values[at, len(words) :] = _hashes(part[:, elements]) if is_text else part[:, elements]
            for k, word in enumerate(words):
                values[at, k] = _value(word, part)
        values[np.isnan(values)] = np.nan  # an answer may hold any NaN
        values.view(np.uint64)[~told[:, i]] = SILENT
        names += columns
        watched.append(values)
    return tuple(names), np.concatenate(watched, axis=1) if watched else np.empty((len(batch), 0))


@lru_cache(1024)
def _places(name: str, width: int | None, is_text: bool, is_classes: bool, most: int) -> tuple[Words, list[int], Names]:
    """What is watched of a tensor: by words, elements by their index, and the columns that both become."""
    words = ["label", "highest"] if is_classes and not is_text and width != 1 else []
    elements = spaced(width, most) if width is not None else []
    if width is None:
        words += [word for word in (BYTES_SUMMARY if is_text else SUMMARY) if word not in words]
    places: list[str | int] = [*words, *elements]
    return words, elements, tuple(_column(name, place, width, is_text) for place in places)


def _column(name: str, place: str | int, width: int | None, is_text: bool) -> Column:
    kind = Kind.CATEGORY if place == "label" or (is_text and place != "elements") else Kind.NUMBER
    if isinstance(place, str):
        return Column(f"{place} of {name}", kind)
    return Column(name if width == 1 else f"{name}[{place}]", kind)


def _value(word: str, array: Array) -> Doubles | float:
    """Of each row of elements (rows, k)."""
    if word == "elements":
        return float(array.shape[1])
    if not array.shape[1]:
        return np.nan
    if word in ("first", "last"):
        values = array[:, 0 if word == "first" else -1]
        return _hashes(values) if values.dtype == object else values.astype(np.float64)
    finite: Chosen = np.logical_and.reduce(np.isfinite(array), axis=1)
    return np.where(finite, WORDS[word](np.where(finite[:, None], array, 0).astype(np.float64)), np.nan)


WORDS: Mapping[str, Callable[[Doubles], Doubles]] = {
    "label": lambda array: array.argmax(axis=1).astype(np.float64),
    "lowest": lambda array: array.min(axis=1),
    "mean": lambda array: array.mean(axis=1),
    "highest": lambda array: array.max(axis=1),
}


def _hashes(values: npt.NDArray[np.object_]) -> Doubles:
    hashes = [np.nan if each is None else float(zlib.crc32(bytes(each))) for each in values.ravel().tolist()]
    return np.array(hashes, np.float64).reshape(values.shape)


def _spaced(columns: Names, values: Doubles) -> tuple[Names, Doubles]:
    if len(columns) <= MOST_COLUMNS:
        return columns, values
    chosen = spaced(len(columns))
    return tuple(columns[i] for i in chosen), values[:, chosen]


def spaced(count: int, most: int = MOST_COLUMNS) -> list[int]:
    """Which of so many columns are watched."""
    return list(range(count)) if count <= most else np.linspace(0, count - 1, most).astype(int).tolist()


def _table(batch: Batch, columns: Names, values: Doubles, rows: Chosen) -> Table:
    """Without rows that say nothing at all."""
    return Table(columns, values, batch.identity, batch.time, batch.request).of(rows & ~silent(values).all(axis=1))
