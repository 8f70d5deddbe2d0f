"""Rows for a watch, as observations would bring them: two groups of correlated numbers, from many identities."""

import numpy as np

from modelward.drift.table import Column, Kind, Table
from modelward.drift.watch import Watch

COLUMNS = 6
NAMES = tuple(Column(f"x{i}", Kind.NUMBER) for i in range(COLUMNS))


def rows(rng, count, second=0.25):
    """(count, COLUMNS); second: share of the second group."""
    mixed = np.random.default_rng(0).normal(size=(COLUMNS, COLUMNS))
    values = rng.normal(size=(count, COLUMNS)) @ mixed
    values[rng.random(count) < second] += 4.0
    return values


def table(values, *, begin=0.0, identities=40, columns=NAMES, identity=None):
    count = len(values)
    if identity is None:
        identity = np.arange(count) % identities
    return Table(columns, values, np.asarray(identity, np.uint64), begin + np.arange(count), np.arange(count))


def feed(watch: Watch, draw, rng, count, *, block=64, begin=None, until_raised=False, **more):
    """How many rows were given to the watch; a row a second."""
    begin = float(watch.rows) if begin is None else begin
    given = 0
    while given < count and not (until_raised and watch.raised):
        watch.add(table(draw(rng, block), begin=begin + given, **more))
        given += block
    return given


def watching(false_alarms=1e5, tolerance=0.005, columns=NAMES, seed=0):
    """A watch that has seen 4,096 ordinary rows."""
    watch = Watch(columns, false_alarms, tolerance, seed)
    feed(watch, rows, np.random.default_rng(1), 4096, begin=0.0)
    assert watch.raised is None
    return watch
