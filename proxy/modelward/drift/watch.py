"""One side of one version watched: its inputs, its outputs, or its likeness to the training data.

Half of the first rows teach what is watched (signals.py); the other half are the first that others are ranked among, so
that nothing is ranked among rows which it was fitted to. Rows are judged in blocks. Of a block no identity has more
than twice its equal share: no client alone makes a drift by sending more. A column counts only while at least half of
the identities say something of it: those few that ask for an output which all others leave out do not decide about it.

An alarm stands until the evidence of the signal that raised it has come down; then all evidence begins again. While it
stands, nothing is learnt, and what was learnt since the change is taken back: the change stays visible, and ends with
its end.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from modelward.drift.bets import level_of
from modelward.drift.evidence import LOWERED, Evidence
from modelward.drift.ranks import BINS, Bins, Ranks
from modelward.drift.samples import Recent, Reservoir
from modelward.drift.signals import Signals
from modelward.drift.table import Column, Doubles, Kind, Table, silence, silent

LEARNT_FROM = 1024
BLOCK, LARGEST_BLOCK = 64, 256
LONGEST_WAIT = 10.0
"""Seconds after which a block is judged with the rows that there are."""
FEWEST_ASKING = 0.5
"""Of the identities of the last rows, for a column to count."""
SHARES = 2.0
"""Of an identity in a block, as a multiple of its equal share."""


class Raised(Struct, frozen=True):
    """An alarm. at: when it was raised; since: when the change began, s since 1970. first: index of the signal."""

    at: float
    since: float
    first: int


class Watch:
    """false_alarms: requests between false alarms, in the mean, at least. seed: ties of ranks are broken by it."""

    def __init__(self, columns: tuple[Column, ...], false_alarms: float, tolerance: float, seed: int = 0) -> None:
        self.columns = columns
        self.signals: Signals | None = None
        self.raised: Raised | None = None
        self.rows = self.requests = self.left_out = 0
        self.false_alarms, self.tolerance = false_alarms, tolerance
        self.rng = np.random.default_rng(seed)
        self._waiting: list[Table] = []
        self.ranks: Ranks | None = None
        self.evidence: Evidence | None = None
        self.before = Reservoir(columns, self.rng)
        self.recent = Recent(columns)

    @property
    def is_learning(self) -> bool:
        return self.signals is None

    @property
    def alarm_at(self) -> float:
        return self.evidence.alarm_at if self.evidence is not None else float("inf")

    def add(self, table: Table) -> bool:
        """Whether an alarm was raised or ended."""
        if not len(table):
            return False
        self._waiting.append(table)
        waits = self.waits
        if self.signals is None:
            if waits >= LEARNT_FROM:
                self._learn(self._taken())
            return False
        if waits < BLOCK and table.time[-1] - self._waiting[0].time[0] < LONGEST_WAIT:
            return False
        before, table = self.raised, self._taken()
        for begin in range(0, len(table), LARGEST_BLOCK):
            self._judge(table.of(slice(begin, begin + LARGEST_BLOCK)))
        return (self.raised is None) != (before is None)

    def nats(self) -> Doubles:
        """Evidence of each signal."""
        return self.evidence.nats() if self.evidence is not None else np.empty(0)

    def since(self) -> Doubles:
        return self.evidence.since() if self.evidence is not None else np.empty(0)

    @property
    def waits(self) -> int:
        """Rows that are not judged yet."""
        return sum(map(len, self._waiting))

    def waiting(self) -> Table:
        """These rows."""
        return Table.joined(self._waiting) if self._waiting else self.recent.table().of(np.arange(0))

    def wait(self, table: Table) -> None:
        """As if these rows had come, and were not judged yet."""
        self._waiting.append(table)

    def resume(self, signals: Signals, ranks: Ranks, evidence: Evidence, before: Reservoir, recent: Recent) -> None:
        """What another watch has learnt."""
        self.signals, self.ranks, self.evidence, self.before, self.recent = signals, ranks, evidence, before, recent

    def accepted(self, seed: int) -> Watch:
        """A watch for which the present is usual: it has learnt from the last rows since the change, and learns from
        the next ones where these are too few."""
        watch = Watch(self.columns, self.false_alarms, self.tolerance, seed)
        last = self.recent.in_order()
        watch.add(last if self.raised is None else last.of(last.time >= self.raised.since))
        return watch

    def _taken(self) -> Table:
        table = Table.joined(self._waiting)
        self._waiting = []
        kept = fair(table)
        self.left_out += len(table) - len(kept)
        return kept

    def _counting(self, table: Table) -> Table:
        """With columns silent that too few ask for."""
        if not self.recent.has_silent and not silent(table.values).any():
            return table
        last = self.recent.table()
        identity = np.concatenate([last.identity, table.identity])
        told = ~silent(np.concatenate([last.values, table.values]))
        order = np.argsort(identity, kind="stable")
        begins = np.flatnonzero(np.diff(identity[order], prepend=identity[order][:1] + 1))
        few = np.logical_or.reduceat(told[order], begins, axis=0).mean(axis=0) < FEWEST_ASKING
        values = table.values.copy()
        silence(values, np.repeat(few[None], len(values), axis=0))
        return replace(table, values=values)

    def _learn(self, table: Table) -> None:
        half, counting = len(table) // 2, self._counting(table)
        self.signals = Signals.learn(counting.of(np.arange(half)), self.rng)
        first = self.signals.bins(self.signals.matrix(counting.of(np.arange(half, len(table)))))
        self.ranks = Ranks(np.zeros((len(self.signals.all), BINS), np.int64), self.rng)
        self.ranks.levels(first, learn=True)
        self.evidence = self._no_evidence()
        self._seen(table)

    def _no_evidence(self) -> Evidence:
        assert self.signals is not None
        return Evidence(len(self.signals.all), self.false_alarms, self.tolerance)

    def _judge(self, table: Table) -> None:
        assert self.signals is not None and self.ranks is not None and self.evidence is not None
        bins = self.signals.bins(self.signals.matrix(self._counting(table)))
        levels = self.ranks.levels(bins, learn=self.raised is None)
        for i, column in enumerate(self.columns):
            if column.kind is Kind.P_VALUE:
                levels[:, i] = level_of(1.0 - table.values[:, i])
        at = float(table.time[0])
        self.evidence.add(levels, max(1, len(np.unique(table.request))), at)
        nats = self.evidence.nats()
        highest = int(nats.argmax()) if len(nats) else 0
        if self.raised is None and len(nats) and nats[highest] >= self.evidence.alarm_at:
            self.raised = Raised(float(table.time[-1]), float(self.evidence.since()[highest]), highest)
            self.ranks.forget(bins)
            self.ranks.forget(self._bins_since(self.raised.since))
        elif self.raised is not None and nats[self.raised.first] < self.evidence.alarm_at - LOWERED:
            self.raised = None
            self.evidence = self._no_evidence()
        self._seen(table)

    def _bins_since(self, since: float) -> Bins:
        """Of the last rows, as far as they are kept."""
        assert self.signals is not None
        last = self.recent.table()
        return self.signals.bins(self.signals.matrix(self._counting(last.of(last.time >= since))))

    def _seen(self, table: Table) -> None:
        self.rows += len(table)
        self.requests += len(np.unique(table.request))
        if self.raised is None:
            self.before.add(table)
        self.recent.add(table)


def fair(table: Table) -> Table:
    """Without what identities have beyond SHARES of their equal share."""
    _, inverse, counts = np.unique(table.identity, return_inverse=True, return_counts=True)
    most = int(np.ceil(SHARES * len(table) / len(counts)))
    if counts.max() <= most:
        return table
    order = np.argsort(inverse, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return table.of(place < most)
