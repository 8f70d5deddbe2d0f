"""Rows as points, and which of them are near duplicates of each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from modelward.capture.columns import HASH, INPUT

PROJECTIONS = 10  # as many as tell rows apart: of thousands of distinct honest rows, a few share a bucket
SAMPLE = 2000  # rows whose nearest neighbours say how fine the buckets are
MOST_FEATURES = 128  # more are projected: distances stay, and their cost does not grow
CATEGORY = 4  # coordinates of a category: any two are about equally far apart
LARGEST = 10.0  # deviations; what is farther out is as far as that

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Points(Struct, frozen=True, eq=False):
    """raw: (rows, f) numbers as they were sent, categories as codes. names: of its columns. at: (rows, d) with a spread
    of about 1 in each coordinate, where rows are near that are alike."""

    raw: npt.NDArray[np.float64]
    names: tuple[str, ...]
    at: Floats


def points(table: pa.Table) -> Points:
    """Of the inputs that are kept or hashed."""
    names: list[str] = []
    raw: list[npt.NDArray[np.float64]] = []
    at: list[Floats] = []
    for column in table.column_names:
        if not column.startswith((INPUT, HASH)):
            continue
        name = column.removeprefix(INPUT)
        values = table[column].combine_chunks()
        for part, each in _elements(values, name):
            names.append(part)
            if column.startswith(HASH) or pa.types.is_binary(each.type):
                codes = each.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
                raw.append(codes.astype(np.float64))
                at.append(_spread(codes))
            else:
                numbers = each.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
                raw.append(numbers)
                at.append(_standardised(numbers)[:, None])
    n = table.num_rows
    places = np.concatenate(at, axis=1) if at else np.zeros((n, 1), np.float32)
    if places.shape[1] > MOST_FEATURES:
        matrix = np.random.default_rng(0).normal(0, MOST_FEATURES**-0.5, (places.shape[1], MOST_FEATURES))
        places = places @ matrix.astype(np.float32)
    return Points(np.stack(raw, axis=1) if raw else np.zeros((n, 0)), tuple(names), places)


def clusters(at: Floats, seed: int = 0) -> Ints:
    """A number for each row: that of its bucket, in a grid whose cells are as wide as the median row is from its
    nearest distinct neighbour. Near duplicates share it but where a wall is between them."""
    random = np.random.default_rng(seed)
    distinct = np.unique(at[random.permutation(len(at))[: 4 * SAMPLE]], axis=0)
    sample = distinct[random.permutation(len(distinct))[:SAMPLE]]
    if len(sample) < 2:
        return np.zeros(len(at), np.int64)
    width = float(np.median(nearest(sample, sample, 2)[1][:, 1]))
    matrix = random.normal(size=(at.shape[1], PROJECTIONS)) / max(width, 1e-6)
    cells = np.floor(at @ matrix.astype(np.float32) + random.uniform(size=PROJECTIONS)).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def nearest(queries: Floats, reference: Floats, k: int) -> tuple[Ints, Floats]:
    """Index in `reference` and distance of the k nearest, the nearest first; (queries, k)."""
    k = min(k, len(reference))
    index, distance = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    squares = (reference**2).sum(axis=1)
    step = max(1, 20_000_000 // max(len(reference), 1))
    for first in range(0, len(queries), step):
        part = queries[first : first + step]
        away = squares - 2 * part @ reference.T + (part**2).sum(axis=1)[:, None]
        found = np.argpartition(away, k - 1, axis=1)[:, :k]
        of = np.take_along_axis(away, found, axis=1)
        order = np.argsort(of, axis=1, kind="stable")
        index[first : first + step] = np.take_along_axis(found, order, axis=1)
        distance[first : first + step] = np.sqrt(np.maximum(np.take_along_axis(of, order, axis=1), 0))
    return index, distance


def _elements(values: pa.Array, name: str) -> list[tuple[str, pa.Array]]:
    """A list of the same length in every row as so many columns; of others what all rows have."""
    if not pa.types.is_list(values.type):
        return [(name, values)]
    lengths = values.value_lengths().fill_null(0).to_numpy()
    width = min(int(lengths.min()) if len(lengths) else 0, 4096)
    starts = values.offsets.to_numpy()[:-1]
    return [(f"{name}[{i}]", values.values.take(pa.array(starts + i))) for i in range(width)]


def _standardised(values: npt.NDArray[np.float64]) -> Floats:
    """Missing ones are in the middle."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(len(values), np.float32)
    middle = float(np.median(finite))
    low, high = np.quantile(finite, [0.05, 0.95])
    scale = (high - low) / 3.29 or float(finite.std()) or 1.0  # what is between those of a normal distribution
    clipped: Floats = np.clip((values - middle) / scale, -LARGEST, LARGEST).astype(np.float32)
    return np.nan_to_num(clipped, nan=0.0)


def _spread(codes: Ints) -> Floats:
    """A random place for each category, two of which are about as far apart as two ordinary numbers."""
    count = int(codes.max(initial=-1)) + 2
    places = np.random.default_rng(1).normal(0, CATEGORY**-0.5, (count, CATEGORY)).astype(np.float32)
    found: Floats = places[codes + 1]
    return found
