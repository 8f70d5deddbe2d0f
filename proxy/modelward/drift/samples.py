"""Rows that are kept so that a change can be told: some of all rows before it, and the last ones. Memory is fixed."""

from __future__ import annotations

import numpy as np

from modelward.drift.table import Column, Table, silent

KEPT = 1024
"""Rows of each of the two."""


class Recent:
    """The last KEPT rows."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._table = _empty(columns)
        self._next = 0
        self._silent_until = 0
        self.seen = 0

    def add(self, table: Table) -> None:
        last = table.of(np.arange(len(table))[-KEPT:])
        at = (self._next + np.arange(len(last))) % KEPT
        _put(self._table, at, last)
        self._next = (self._next + len(last)) % KEPT
        self.seen += len(last)
        if silent(last.values).any():
            self._silent_until = self.seen + KEPT

    @property
    def has_silent(self) -> bool:
        """Whether some of these rows may have silent cells."""
        return self.seen < self._silent_until

    def table(self) -> Table:
        return self._table.of(np.arange(min(self.seen, KEPT)))

    def in_order(self) -> Table:
        """The earliest first."""
        if self.seen < KEPT:
            return self.table()
        return self._table.of((self._next + np.arange(KEPT)) % KEPT)


class Reservoir:
    """KEPT rows of all, each with the same chance (Vitter, "Random sampling with a reservoir", 1985)."""

    def __init__(self, columns: tuple[Column, ...], rng: np.random.Generator) -> None:
        self._table = _empty(columns)
        self._rng = rng
        self.seen = 0

    def resume(self, kept: Table, seen: int) -> None:
        """What another has kept of so many rows, at most KEPT. Raises ValueError."""
        if len(kept) != min(seen, KEPT):
            raise ValueError(f"{len(kept)} rows are not what is kept of {seen}")
        _put(self._table, np.arange(len(kept)), kept)
        self.seen = seen

    def add(self, table: Table) -> None:
        numbers = self.seen + np.arange(len(table))
        at = np.where(numbers < KEPT, numbers, (self._rng.random(len(table)) * (numbers + 1)).astype(np.int64))
        taken = at < KEPT
        _put(self._table, at[taken], table.of(taken))
        self.seen += len(table)

    def table(self) -> Table:
        return self._table.of(np.arange(min(self.seen, KEPT)))


def _empty(columns: tuple[Column, ...]) -> Table:
    return Table(
        columns,
        np.full((KEPT, len(columns)), np.nan),
        np.zeros(KEPT, np.uint64),
        np.zeros(KEPT),
        np.zeros(KEPT, np.int64),
    )


def _put(kept: Table, at: np.ndarray, rows: Table) -> None:
    kept.values[at] = rows.values
    kept.identity[at] = rows.identity
    kept.time[at] = rows.time
