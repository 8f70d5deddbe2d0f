"""What the scorer's design is worth on a table that had no part in choosing it.

A design is a set of spaces and a set of weightings; where it has several, a fit chooses among them by itself
(modelward.score.choice). Each table in turn is left out, and the designs are compared on the other tables. Two figures
follow for the table that was left out:

- that of the best design on the others. Where designs are as good as equal, this errs downwards: without a table, the
  best of the others is more often one that is bad on that table;
- the mean of all designs that the others cannot tell from the best: within one standard error of the paired difference.

Both are free of the choice among the designs, though not of what all designs have in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from msgspec import structs
from sklearn.metrics import roc_auc_score

from modelward.score import choice, geometry
from modelward.score.choice import PLAIN, TWO_VIEWS, WEIGHTS, Choice
from modelward.score.profile import bare_kernel
from tests.bench.tables import split

SPACES = {PLAIN: (PLAIN,), TWO_VIEWS: (TWO_VIEWS,), "either space": (PLAIN, TWO_VIEWS)}
WEIGHTINGS = {**{name: (name,) for name in WEIGHTS}, "any weighting": tuple(WEIGHTS)}
OURS = "either space, any weighting"


@dataclass(frozen=True)
class Found:
    """designs: mean AUROC by design. best, alike: mean AUROC over the tables left out, of the best design on the others
    and of those like it. taken, among: how often each design was the best, and among those. without: the same where one
    more table had no part at all."""

    designs: dict[str, float]
    best: float
    alike: float
    taken: dict[str, int]
    among: dict[str, int]
    without: Found | None = None


def evaluate(paths: Sequence[Path], outlier: str) -> Found:
    """Of two tables or more; `outlier` names the one that is left out altogether once more."""
    by_table = {path.stem: measure(path) for path in paths}
    rest = {name: designs for name, designs in by_table.items() if name != outlier}
    found = leave_one_out(by_table)
    return replace(found, without=leave_one_out(rest)) if 2 < len(rest) < len(by_table) else found


def measure(path: Path) -> dict[str, float]:
    """AUROC of every design on one table."""
    train, test, y = split(path)
    rng = np.random.default_rng(0)
    rated = choice.rate(train.astype(np.float32), rng) if train.shape[1] > 1 else {choice.UNCHOSEN: 1.0}
    value: dict[Choice, float] = {}
    for space in dict.fromkeys(each.space for each in rated):
        shape = geometry.fit(train, Choice(space, "nearest"), rng)
        for each in rated:
            if each.space == space:
                kernel = bare_kernel(structs.replace(shape, weights=np.array(WEIGHTS[each.weighting])))
                value[each] = float(roc_auc_score(y, kernel.measure(test)[0]))
    designs = {}
    for spaces, weightings in product(SPACES, WEIGHTINGS):
        allowed = [c for c in rated if c.space in SPACES[spaces] and c.weighting in WEIGHTINGS[weightings]]
        taken = max(allowed or rated, key=lambda each: rated[each])  # a table may be too wide for two views
        designs[f"{spaces}, {weightings}"] = value[taken]
    return designs


def leave_one_out(by_table: Mapping[str, Mapping[str, float]]) -> Found:
    names = list(next(iter(by_table.values())))
    table = np.array([[designs[name] for name in names] for designs in by_table.values()])
    taken, among = Counter[str](), Counter[str]()
    best, alike = [], []
    for i, left_out in enumerate(table):
        others = np.delete(table, i, axis=0)
        first = int(others.mean(axis=0).argmax())
        worse = others[:, [first]] - others
        close = worse.mean(axis=0) <= worse.std(axis=0, ddof=1) / np.sqrt(len(others))
        best.append(left_out[first])
        alike.append(left_out[close].mean())
        taken[names[first]] += 1
        among.update(name for name, is_close in zip(names, close, strict=True) if is_close)
    means = dict(zip(names, table.mean(axis=0).tolist(), strict=True))
    return Found(means, float(np.mean(best)), float(np.mean(alike)), dict(taken), dict(among))


def lines(found: Found) -> Iterator[str]:
    """A table: mean AUROC, how often a design was the best on the other tables, and how often among those like it."""
    less = found.without
    yield "| design | AUROC | best | alike | without the outlier | best | alike |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name in found.designs:
        cells = [_row(each, name) if each else " | | " for each in (found, less)]
        yield f"| {name}{' (this is it)' if name == OURS else ''} | {' | '.join(cells)} |"
    for name, value in {"left out: the best": "best", "left out: those like it": "alike"}.items():
        cells = [f"{getattr(each, value):.4f}" if each else "" for each in (found, less)]
        yield f"| {name} | {cells[0]} | | | {cells[1]} | | |"


def _row(found: Found, name: str) -> str:
    return f"{found.designs[name]:.4f} | {found.taken.get(name, 0)} | {found.among.get(name, 0)}"
