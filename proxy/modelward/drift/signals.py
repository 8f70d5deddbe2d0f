"""What of a table is watched: its columns, and what only columns together show. Learnt from the first rows.

| signal | sees |
|---|---|
| each column | values, their missing, categories that come or go |
| `missing values` | how many columns of a row are missing |
| `whole numbers` | how many of a row are whole, of those columns that seldom were: rounding, another type |
| `direction 1`, ... | combinations of columns that vary most and least: correlations that break |
| `cluster of 16`, ... | which of a few groups of rows, large and small ones: a mix that changes |

All become bins (uint8): 0 is missing, the last is a value of a category that was not known. A row with a silent cell is
silent in that column, and in what is made of it; a column that had no value in the first rows is no part of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from modelward.drift.ranks import BINS, UNSEEN, Bins
from modelward.drift.table import Chosen, Column, Doubles, Kind, Table, silence, silent
from modelward.score.kmeans import centroids, nearest

DIRECTIONS = 8
CLUSTERS = (16, 6)
FEWEST_COLUMNS = 2
FEWEST_ROWS = 64
"""From which on there are combinations to watch; of rows that are silent in none of the columns."""
SELDOM = 0.5
P_EDGES = np.array([0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
UNKNOWN = BINS - 1
MOST_DEVIATIONS = 1e3
"""Of a value in a combination, so that one value does not decide all."""


class Signal(Struct, frozen=True):
    """edges: between bins of numbers, rising; of categories the known values, rising."""

    name: str
    kind: Kind
    edges: Doubles

    def bins(self, values: Doubles) -> Bins:
        if self.kind is not Kind.CATEGORY:
            found = np.searchsorted(self.edges, values, side="right") + 1
        else:
            at = np.searchsorted(self.edges, values)
            known = self.edges[np.minimum(at, len(self.edges) - 1)] == values
            found = np.where(known, at + 1, UNKNOWN)
        found = np.where(np.isnan(values), 0, found)
        return np.where(silent(values), UNSEEN, found).astype(np.uint8)


@dataclass(frozen=True)
class Signals:
    """All signals of one table: those of `columns` first."""

    columns: tuple[Column, ...]
    all: tuple[Signal, ...]
    numbers: npt.NDArray[np.intp]
    centre: Doubles
    scale: Doubles
    directions: Doubles
    groups: tuple[npt.NDArray[np.float32], ...]
    fractional: npt.NDArray[np.intp]

    @classmethod
    def learn(cls, table: Table, rng: np.random.Generator) -> Signals:
        values = table.values
        kinds = np.array([column.kind is Kind.NUMBER for column in table.columns], np.bool_)
        whole = np.nan_to_num(values, nan=0.5) == np.round(np.nan_to_num(values, nan=0.5))
        fractional = np.flatnonzero(kinds & (whole.mean(axis=0) < SELDOM))
        with np.errstate(all="ignore"):
            finite = np.where(np.isfinite(values), values, np.nan)
            seen = np.isfinite(finite).any(axis=0)
            filled = np.where(seen, finite, 0.0)
            centre, scale = np.nanmedian(filled, axis=0), np.nanstd(filled, axis=0)
        numbers = np.flatnonzero(kinds & (scale > 1e-12) & np.isfinite(scale))
        whole_rows = ~silent(values[:, numbers]).any(axis=1)
        few = len(numbers) < FEWEST_COLUMNS or whole_rows.sum() < FEWEST_ROWS
        if few:
            numbers = numbers[:0]
        centre, scale = centre[numbers], scale[numbers]
        z = _standardised(values[whole_rows][:, numbers], centre, scale)
        directions = _directions(z)
        points = z.astype(np.float32)
        groups = () if few else tuple(_ordered(centroids(points, count, rng)[0]) for count in CLUSTERS)
        parts = (numbers, centre, scale, directions, groups, fractional)
        plan = cls(table.columns, (), *parts)
        kinds_of = [each.kind for each in plan._named()]
        matrix = plan.matrix(table)
        return cls.of(table.columns, [_edges(matrix[:, i], kind) for i, kind in enumerate(kinds_of)], *parts)

    @classmethod
    def of(cls, columns: tuple[Column, ...], edges: Sequence[Doubles], *parts: Any) -> Signals:
        """edges: of all signals, or ValueError is raised. parts: the rest, in the order of the fields."""
        plan = cls(columns, (), *parts)
        named = [Signal(each.name, each.kind, edge) for each, edge in zip(plan._named(), edges, strict=True)]
        return replace(plan, all=tuple(named))

    def _named(self) -> list[Column]:
        return [*self.columns, *self._derived_columns()]

    def _derived_columns(self) -> list[Column]:
        derived = [Column("missing values", Kind.NUMBER)] if len(self.columns) >= FEWEST_COLUMNS else []
        derived += [Column("whole numbers", Kind.NUMBER)] if len(self.fractional) else []
        derived += [Column(f"direction {i + 1}", Kind.NUMBER) for i in range(self.directions.shape[1])]
        return derived + [Column(f"cluster of {len(each)}", Kind.NUMBER) for each in self.groups]

    def matrix(self, table: Table) -> Doubles:
        """(rows, signals) values."""
        values, quiet = table.values, silent(table.values)
        parts = [values]
        if len(self.columns) >= FEWEST_COLUMNS:
            known = self._known if self.all else np.logical_or.reduce(np.isfinite(values), axis=0)
            missing = np.isnan(values[:, known]).sum(axis=1, keepdims=True).astype(np.float64)
            parts.append(_silenced(missing, quiet[:, known]))
        if len(self.fractional):
            some = values[:, self.fractional]
            whole = (some == np.round(some)).sum(axis=1, keepdims=True).astype(np.float64)
            parts.append(_silenced(whole, quiet[:, self.fractional]))
        if self.directions.shape[1] or len(self.groups):
            z = _standardised(values[:, self.numbers], self.centre, self.scale)
            points = z.astype(np.float32)
            made = [z @ self.directions, *(nearest(points, each)[:, None].astype(np.float64) for each in self.groups)]
            parts.append(_silenced(np.concatenate(made, axis=1), quiet[:, self.numbers]))
        return np.concatenate(parts, axis=1)

    @cached_property
    def _known(self) -> Chosen:
        """Columns with a value in the first rows."""
        signals = self.all[: len(self.columns)]
        return np.array([len(each.edges) > 0 and bool(np.isfinite(each.edges).all()) for each in signals], np.bool_)

    def bins(self, matrix: Doubles) -> Bins:
        """Of each signal, as its own `bins` tells them."""
        numbers, edges = self._edges_of_numbers
        if len(numbers) < matrix.shape[1]:
            found = np.empty(matrix.shape, np.uint8)
            for i in np.setdiff1d(np.arange(matrix.shape[1]), numbers).tolist():
                found[:, i] = self.all[i].bins(matrix[:, i])
            found[:, numbers] = _bins_of(edges, matrix[:, numbers])
            return found
        return _bins_of(edges, matrix)

    @cached_property
    def _edges_of_numbers(self) -> tuple[npt.NDArray[np.intp], Doubles]:
        """Which signals are no categories, and their edges (signals, BINS), NaN behind the last."""
        numbers = np.array([i for i, signal in enumerate(self.all) if signal.kind is not Kind.CATEGORY], np.intp)
        edges = np.full((len(numbers), BINS), np.nan)
        for row, i in zip(edges, numbers.tolist(), strict=True):
            row[: len(self.all[i].edges)] = self.all[i].edges
        return numbers, edges


def _bins_of(edges: Doubles, values: Doubles) -> Bins:
    """edges (signals, BINS) of numbers, rising, NaN behind the last; values (rows, signals). All are searched at once,
    each half of what is left at a time."""
    at = np.broadcast_to(np.arange(len(edges)) * BINS - 1, values.shape).copy()  # in front of an edge of each signal
    flat = edges.ravel()
    half = BINS // 2
    while half:
        at += half * (flat.take(at + half) <= values)  # not where an edge is NaN
        half //= 2
    found = (at - (np.arange(len(edges)) * BINS - 2)).astype(np.uint8)
    found[np.isnan(values)] = 0
    found[silent(values)] = UNSEEN
    return found


def _silenced(made: Doubles, quiet: Chosen) -> Doubles:
    """made (rows, signals) of columns; quiet (rows, columns): their silent cells."""
    if not quiet.any():
        return made
    silence(made, np.repeat(quiet.any(axis=1, keepdims=True), made.shape[1], axis=1))
    return made


def _standardised(values: Doubles, centre: Doubles, scale: Doubles) -> Doubles:
    with np.errstate(invalid="ignore", over="ignore"):
        z = np.maximum(np.minimum((values - centre) / scale, MOST_DEVIATIONS), -MOST_DEVIATIONS)
    z[np.isnan(z)] = 0.0
    return z


def _directions(z: Doubles) -> Doubles:
    """(columns, at most DIRECTIONS): half of those along which rows vary most, half of those along which least."""
    count = min(DIRECTIONS // 2, z.shape[1] // 2)
    if not count:
        return np.empty((z.shape[1], 0))
    capped = np.clip(z, -5.0, 5.0)
    _, vectors = np.linalg.eigh(np.cov(capped.T) + 1e-9 * np.eye(z.shape[1]))
    picked: Doubles = np.concatenate([vectors[:, -count:][:, ::-1], vectors[:, :count]], axis=1)
    return picked


def _ordered(centers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Neighbours by number are neighbours in space, as far as one dimension can show it."""
    moved = centers - centers.mean(axis=0)
    along = moved @ np.linalg.svd(moved, full_matrices=False)[2][0]
    return centers[np.argsort(along)]


def _edges(values: Doubles, kind: Kind) -> Doubles:
    if kind is Kind.P_VALUE:
        return P_EDGES
    seen = values[~np.isnan(values)] if kind is Kind.CATEGORY else values[np.isfinite(values)]
    distinct, counts = np.unique(seen, return_counts=True)
    if kind is Kind.CATEGORY:
        return (
            np.sort(distinct[np.argsort(-counts, kind="stable")[: BINS - 2]]) if len(distinct) else np.array([np.inf])
        )
    if len(distinct) <= 1:
        return np.array([np.nextafter(v, side) for v in distinct.tolist() for side in (v, np.inf)])
    if len(distinct) <= BINS - 3:  # a bin for each value, and one for what lies between
        return (distinct[1:] + distinct[:-1]) / 2
    edges: Doubles = np.unique(np.quantile(seen, np.arange(1, BINS - 1) / (BINS - 1)))
    return edges


def names(signals: Sequence[Signal]) -> list[str]:
    return [signal.name for signal in signals]
