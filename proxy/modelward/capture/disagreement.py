"""Labels that others' rows contradict: how often each identity's labels differ from those of its rows' neighbours.

A row's neighbours are the nearest rows of other identities, at most two of each, so that one identity that sends much
has not much to say about the others. They vote for a label. Where they are divided, any row may disagree, and the
votes tell how likely that is. What an identity disagrees beyond that is its excess.

An identity is left out where its excess is certainly above EXCESS, and only its contradicted rows where it is certainly
above SLIGHT. Certainly: by Chernoff's bound (with relative entropy), with the number of its distinct clusters as the
number of independent rows, and FALSE_RATE shared by all identities. So of exports whose identities all stay within the
bounds, at most one in 1 / FALSE_RATE leaves out any.
"""

from __future__ import annotations

from math import inf, log
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from modelward.capture.duplicates import Floats, Ints, nearest
from modelward.capture.influence import Mask, ranks

VOTES = 9  # neighbours that are asked
EACH = 2  # of them of one identity
LOOKED_AT = 40  # nearest rows among which they are found
FEWEST_VOTES = 3
MOST_REFERENCE = 10_000  # rows
MOST_JUDGED = 1000  # of each identity
EXCESS, SLIGHT = 0.10, 0.03
FALSE_RATE = 0.001


class Labelled(Struct, frozen=True, eq=False):
    """Rows: where they are, the codes of their labels, their identities and clusters."""

    at: Floats
    label: Ints
    identity: Ints
    cluster: Ints


class Verdict(Struct, frozen=True):
    """On one identity. rows: that were judged, clusters: that they are of. rate: that disagree, expected: by the votes.
    certain: the excess that it has at least."""

    identity: int
    rows: int
    clusters: int
    rate: float
    expected: float
    certain: float


class Judged(Struct, frozen=True, eq=False):
    """verdicts: on all identities. against: rows whose label is not that of their neighbours."""

    verdicts: tuple[Verdict, ...]
    against: Mask


def judge(rows_of: Labelled, keep: Mask, trusted: Mask, seed: int = 0, *, others: int = 0) -> Judged:
    """keep: the rows that are judged, trusted: those that may vote, of which no identity has many. others: verdicts
    beside these that share FALSE_RATE with them."""
    random = np.random.default_rng(seed)
    identity, cluster = rows_of.identity, rows_of.cluster
    voters = np.flatnonzero(trusted)
    voters = voters[random.permutation(len(voters))[:MOST_REFERENCE]]
    rows = np.flatnonzero(keep & (ranks(identity, keep, random) < MOST_JUDGED))
    disagrees, expected, known = _ask(rows_of, rows, voters)
    sums: list[Verdict] = []
    present = np.unique(identity[rows])
    for each in present.tolist():
        mine = (identity[rows] == each) & known
        n = int(mine.sum())
        distinct = len(np.unique(cluster[rows[mine]]))
        if distinct:
            rate, usual = float(disagrees[mine].mean()), float(expected[mine].mean())
            certain = at_least(rate, distinct, FALSE_RATE / (len(present) + others))
            sums.append(Verdict(each, n, distinct, rate, usual, certain - usual))
    against = np.zeros(len(identity), bool)
    against[rows[disagrees & known]] = True
    rest = np.flatnonzero(keep & np.isin(identity, [v.identity for v in sums if v.certain > SLIGHT]))
    rest = np.setdiff1d(rest, rows)
    if len(rest):
        more, _, sure = _ask(rows_of, rest, voters)
        against[rest[more & sure]] = True
    return Judged(tuple(sums), against)


def at_least(rate: float, n: int, false: float) -> float:
    """What the mean is at least if n independent rows have that rate, but for a chance of `false`."""
    low, high, most = 0.0, rate, -log(false) / n
    for _ in range(40):
        middle = (low + high) / 2
        if _entropy(rate, middle) > most:
            low = middle
        else:
            high = middle
    return low


def _entropy(p: float, q: float) -> float:
    """Of a coin of p relative to one of q, in nats."""
    if q <= 0 or q >= 1:
        return 0.0 if p == q else inf
    return (p * log(p / q) if p > 0 else 0.0) + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)


def codes_of(labels: npt.NDArray[Any]) -> tuple[Ints, int]:
    """Labels as codes, and how many there are. Numbers of more than 20 values count by which tenth they are in."""
    if labels.dtype.kind == "f" and len(np.unique(labels)) > 20:
        return np.searchsorted(np.quantile(labels, np.linspace(0.1, 0.9, 9)), labels).astype(np.int64), 10
    found, codes = np.unique(labels.astype(str), return_inverse=True)
    return codes.reshape(-1).astype(np.int64), len(found)


def _ask(rows_of: Labelled, rows: Ints, voters: Ints) -> tuple[Mask, Floats, Mask]:
    """Of each row: whether its label differs from its neighbours', how likely that is, whether enough have voted."""
    at, label, identity = rows_of.at, rows_of.label, rows_of.identity
    classes = int(label.max(initial=0)) + 1
    votes = np.zeros((len(rows), classes), np.float32)
    if len(voters):
        index, _ = nearest(at[rows], at[voters], LOOKED_AT + EACH)
        who = identity[voters][index]
        own = who == identity[rows][:, None]
        count = np.zeros(len(rows), np.int64)
        for j in range(index.shape[1]):
            earlier = (who[:, :j] == who[:, j : j + 1]).sum(axis=1)
            counts = ~own[:, j] & (earlier < EACH) & (count < VOTES)
            votes[np.flatnonzero(counts), label[voters[index[counts, j]]]] += 1
            count += counts
    total = votes.sum(axis=1)
    top = votes.argmax(axis=1)
    # as if half a vote for every other label had come too: few that agree do not make a certainty
    expected = 1 - (votes[np.arange(len(rows)), top] + 0.5) / (total + 0.5 * max(classes, 2))
    return label[rows] != top, expected.astype(np.float32), total >= FEWEST_VOTES
