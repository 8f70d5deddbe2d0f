"""Bins of all signals, searched at once, are those that each signal tells by itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelward.drift.signals import P_EDGES, Signals
from modelward.drift.table import Column, Kind, silence
from tests.proxy.drift.made import rows, table

ODD = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e308, -1e308]


def learnt():
    rng = np.random.default_rng(0)
    values = rows(rng, 512)
    values[:, 1], values[:, 2], values[:, 3] = rng.integers(0, 3, 512), 7.0, rng.integers(0, 90, 512)
    kinds = [Kind.NUMBER, Kind.NUMBER, Kind.NUMBER, Kind.CATEGORY, Kind.NUMBER, Kind.P_VALUE]
    columns = tuple(Column(f"x{i}", kind) for i, kind in enumerate(kinds))
    values[:, 5] = rng.random(512)
    return Signals.learn(table(values, columns=columns), rng), values


SIGNALS, VALUES = learnt()


@given(st.integers(0, 2**32 - 1))
def test_they_are_the_same(seed):
    rng = np.random.default_rng(seed)
    matrix = SIGNALS.matrix(table(VALUES[rng.integers(0, 512, 40)], columns=SIGNALS.columns))
    for signal, column in zip(SIGNALS.all, matrix.T, strict=True):
        at = rng.random(40) < 0.5
        column[at] = rng.choice([*ODD, *signal.edges, *np.nextafter(signal.edges, -np.inf)], at.sum())
    silence(matrix, rng.random(matrix.shape) < 0.1)
    by_itself = [signal.bins(matrix[:, i]) for i, signal in enumerate(SIGNALS.all)]
    assert (SIGNALS.bins(matrix) == np.stack(by_itself, axis=1)).all()


def test_the_signals_here_have_few_edges_and_many_and_are_of_every_kind():
    assert {len(each.edges) for each in SIGNALS.all} >= {2, len(P_EDGES), 62}
    assert {each.kind for each in SIGNALS.all} == set(Kind)
