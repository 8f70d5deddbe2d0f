"""What has changed in one signal: by how much, and through whom, from rows before the change and rows since."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from modelward.drift.ranks import BINS
from modelward.drift.signals import Signal
from modelward.drift.table import Doubles, Kind

BARS = 16
MOST_IDENTITIES = 5
SMOOTH = 0.5
REFINED = 3

Counts = Doubles | npt.NDArray[np.int64]


class Part(Struct, frozen=True):
    """What an identity has to do with a change. before, after: its shares of the rows. contribution: its part of the
    whole, 1 where it alone carries it, negative where it goes against it. mixed: of that, what its share explains."""

    identity: str
    before: float
    after: float
    contribution: float
    mixed: float


class Change(Struct, frozen=True):
    """distance: share of rows that lie elsewhere, at least about that many: total variation less what chance gives.
    mix: part of the change that comes from identities sending more or less; the rest is of what they send."""

    distance: float
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    bars: tuple[Mapping[str, Any], ...]
    mix: float
    identities: tuple[Part, ...]


class Side(Struct, frozen=True):
    """values (rows,) of a signal, and whose rows they are."""

    values: Doubles
    identity: np.ndarray


def change(signal: Signal, before: Side, after: Side) -> Change:
    """Both sides have rows."""
    bins = [signal.bins(side.values) for side in (before, after)]
    shares = [np.bincount(each, minlength=BINS) / len(each) for each in bins]
    groups = _groups(signal, shares[0] + shares[1])
    grouped = [np.array([share[g].sum() for g in groups]) for share in shares]
    spread = 1 / len(before.values) + 1 / len(after.values)
    noise = 0.5 * sqrt(2 / np.pi) * float(np.sqrt(grouped[0] * (1 - grouped[0]) * spread).sum())
    distance = max(0.0, 0.5 * float(np.abs(grouped[0] - grouped[1]).sum()) - noise)
    parts, mix = _identities(bins, shares, before, after)
    bars = tuple(
        {"up_to": _up_to(signal, g), "before": float(a), "after": float(b)}
        for g, a, b in zip(groups, *grouped, strict=True)
    )
    return Change(distance, _summary(signal, before), _summary(signal, after), bars, mix, parts)


def began(signal: Signal, before: Side, last: Side, time: Doubles, since: float) -> float:
    """When the change most probably began: the moment since which the last rows speak most for what came after it.

    last: rows in the order of `time` (rows,). since: a first guess, which may be a little early.
    """
    usual, bins = np.bincount(signal.bins(before.values), minlength=BINS), signal.bins(last.values)
    for _ in range(REFINED):
        weight = _weight(usual, np.bincount(bins[time >= since], minlength=BINS))
        speaks = np.cumsum(weight[bins][::-1])[::-1]
        since = float(time[speaks.argmax()])
    return since


def _weight(before: Counts, after: Counts) -> Doubles:
    """Of each bin: log of how much more of the rows lie there."""
    gained: Doubles = np.log((after + SMOOTH) / (after.sum() + SMOOTH * BINS))
    lost: Doubles = np.log((before + SMOOTH) / (before.sum() + SMOOTH * BINS))
    return gained - lost


def _groups(signal: Signal, weight: Doubles) -> list[np.ndarray]:
    """Bins that are shown as one bar: missing by themselves, the others in their order, about equally heavy."""
    last = BINS if signal.kind is Kind.CATEGORY else len(signal.edges) + 2
    inner = np.arange(1, last)
    inner = inner[weight[inner] > 0] if signal.kind is Kind.CATEGORY else inner
    groups = [np.array([0])] if weight[0] > 0 else []
    if len(inner) <= BARS:
        return [*groups, *(np.array([i]) for i in inner.tolist())]
    total = np.cumsum(weight[inner])
    part = np.minimum((total - weight[inner] / 2) / max(total[-1], 1e-12) * BARS, BARS - 1).astype(int)
    return [*groups, *(inner[part == i] for i in range(BARS) if (part == i).any())]


def _up_to(signal: Signal, group: np.ndarray) -> float | str | None:
    """Of the group's last bin; None: any. A category is told by its hash."""
    last = int(group[-1])
    if last == 0:
        return "missing"
    if signal.kind is Kind.CATEGORY:
        return "other" if last > len(signal.edges) else f"{int(signal.edges[last - 1]):x}"
    return float(signal.edges[last - 1]) if last <= len(signal.edges) else None


def _summary(signal: Signal, side: Side) -> Mapping[str, Any]:
    missing = np.isnan(side.values)
    told: dict[str, Any] = {"rows": len(side.values), "missing": float(missing.mean())}
    seen = side.values[np.isfinite(side.values)]
    if signal.kind is not Kind.CATEGORY and len(seen):
        low, median, high = np.quantile(seen, [0.05, 0.5, 0.95]).tolist()
        told |= {"low": low, "median": median, "high": high}
    if signal.kind is Kind.CATEGORY:
        told["unknown"] = float((signal.bins(side.values) == BINS - 1).mean())
    return told


def _identities(
    bins: list[np.ndarray],
    shares: list[Doubles],
    before: Side,
    after: Side,
) -> tuple[tuple[Part, ...], float]:
    """The change of the mean of log(after / before) of a row's bin, divided among identities, and of each into what its
    share of the rows explains and what its rows do (Kitagawa, "Components of a difference between two rates", 1955)."""
    weight = _weight(shares[0] * len(before.values), shares[1] * len(after.values))
    names, number = np.unique(np.concatenate([before.identity, after.identity]), return_inverse=True)
    cut = len(before.identity)
    sums = [np.bincount(n, weight[b], len(names)) for n, b in zip((number[:cut], number[cut:]), bins, strict=True)]
    counts = [np.bincount(n, minlength=len(names)).astype(np.float64) for n in (number[:cut], number[cut:])]
    part = [count / count.sum() for count in counts]
    usual = float(weight[bins[0]].mean())
    total = float(weight[bins[1]].mean()) - usual
    if total <= 0:
        return (), 0.0
    means = [np.divide(s, c, out=np.full(len(names), np.nan), where=c > 0) for s, c in zip(sums, counts, strict=True)]
    # one that was not there before changes the mix alone
    start = np.where(np.isnan(means[0]), np.nan_to_num(means[1]), np.nan_to_num(means[0]))
    mixed = (part[1] - part[0]) * (start - usual) / total
    own = part[1] * (np.nan_to_num(means[1]) - start) / total
    order = np.argsort(-np.abs(mixed + own), kind="stable")[:MOST_IDENTITIES].tolist()
    found = tuple(
        Part(f"{int(names[i]):016x}", float(part[0][i]), float(part[1][i]), float(mixed[i] + own[i]), float(mixed[i]))
        for i in order
    )
    return found, float(np.clip(mixed.sum(), 0.0, 1.0))
