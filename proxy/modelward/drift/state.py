"""What a watch has learnt, as plain facts and arrays, and a watch made of these again.

The file that they come from is checked for damage (store.py); here everything is held against the sizes that it must
have, so that no state of another program or another version can end what judges rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from modelward.drift.evidence import Evidence
from modelward.drift.ranks import BINS, Ranks
from modelward.drift.samples import KEPT, Recent, Reservoir
from modelward.drift.signals import CLUSTERS, DIRECTIONS, Signals
from modelward.drift.table import MOST_COLUMNS, Column, Kind, Table
from modelward.drift.watch import LARGEST_BLOCK, LEARNT_FROM, Raised, Watch

LONGEST_NAME = 1024
MOST_WAITING = 4 * (LEARNT_FROM + LARGEST_BLOCK)

Arrays = dict[str, npt.NDArray[Any]]
Facts = Mapping[str, Any]


class StateError(ValueError):
    """A state that no watch can have."""


def state_of(watch: Watch) -> tuple[dict[str, Any], Arrays]:
    """Facts that are JSON, and arrays. Nothing in them changes with the watch."""
    facts: dict[str, Any] = {
        "columns": [[column.name, str(column.kind)] for column in watch.columns],
        "rows": watch.rows,
        "requests": watch.requests,
        "left_out": watch.left_out,
        "raised": None if watch.raised is None else [watch.raised.at, watch.raised.since, watch.raised.first],
        "learnt": watch.signals is not None,
        "seen": [watch.before.seen, watch.recent.seen],
    }
    arrays = _rows("waiting", watch.waiting(), whole=True)
    if watch.signals is None:
        return facts, arrays
    assert watch.ranks is not None and watch.evidence is not None
    signals = watch.signals
    arrays |= {
        "edges": np.concatenate([signal.edges for signal in signals.all]),
        "edge_counts": np.array([len(signal.edges) for signal in signals.all], np.int64),
        "numbers": signals.numbers.astype(np.int64),
        "centre": signals.centre,
        "scale": signals.scale,
        "directions": signals.directions,
        "fractional": signals.fractional.astype(np.int64),
        "counts": watch.ranks.counts,
        **{f"group{i}": group for i, group in enumerate(signals.groups)},
        **{name: array.copy() for name, array in watch.evidence.arrays().items()},
    }
    facts["groups"] = len(signals.groups)
    return facts, arrays | _rows("before", watch.before.table()) | _rows("recent", watch.recent.in_order())


def watch_of(facts: Facts, arrays: Arrays, watch: Watch) -> Watch:
    """watch: a new one with the settings of today, which is given all that the state has. Raises StateError."""
    try:
        return _filled(facts, arrays, watch)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise StateError(f"it does not fit: {error!r}") from error


def columns_of(facts: Facts) -> tuple[Column, ...]:
    """Raises StateError."""
    try:
        columns = tuple(Column(str(name)[:LONGEST_NAME], Kind(kind)) for name, kind in facts["columns"])
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"its columns are none: {error!r}") from error
    _require(1 <= len(columns) <= MOST_COLUMNS + 1, "so many columns are not watched")
    return columns


def _filled(facts: Facts, arrays: Arrays, watch: Watch) -> Watch:
    columns = watch.columns
    watch.rows, watch.requests, watch.left_out = (_count(facts[name]) for name in ("rows", "requests", "left_out"))
    waiting = _table("waiting", arrays, columns, MOST_WAITING)
    if facts["learnt"]:
        signals = _signals(facts, arrays, columns)
        count = len(signals.all)
        ranks = Ranks(_array(arrays, "counts", np.int64, (count, BINS)), watch.rng)
        _require((ranks.counts >= 0).all(), "a bin was seen less than never")
        evidence = Evidence(count, watch.false_alarms, watch.tolerance)
        evidence.resume({name: _array(arrays, name, a.dtype, a.shape) for name, a in evidence.arrays().items()})
        before, recent = Reservoir(columns, watch.rng), Recent(columns)
        before.resume(_table("before", arrays, columns, KEPT), _count(facts["seen"][0]))
        recent.add(_table("recent", arrays, columns, KEPT))
        recent.seen = max(_count(facts["seen"][1]), recent.seen)
        watch.resume(signals, ranks, evidence, before, recent)
        if facts["raised"] is not None:
            at, since, first = facts["raised"]
            _require(0 <= int(first) < count, "an alarm of no signal")
            watch.raised = Raised(float(at), float(since), int(first))
    if len(waiting):
        watch.wait(waiting)
    return watch


def _signals(facts: Facts, arrays: Arrays, columns: tuple[Column, ...]) -> Signals:
    numbers, fractional = (_indices(arrays, name, len(columns)) for name in ("numbers", "fractional"))
    centre, scale = (_array(arrays, name, np.float64, numbers.shape) for name in ("centre", "scale"))
    _require((scale > 0).all(), "a scale is not positive")
    directions = arrays["directions"]
    directions = _array(arrays, "directions", np.float64, (len(numbers), directions.shape[1]))
    _require(directions.shape[1] <= DIRECTIONS, "so many directions are not watched")
    _require(facts["groups"] in (0, len(CLUSTERS)), "so many groups are not watched")
    groups = []
    for i in range(facts["groups"]):
        group = arrays[f"group{i}"]
        groups.append(_array(arrays, f"group{i}", np.float32, (len(group), len(numbers))))
        _require(1 <= len(group) <= CLUSTERS[i], "so many groups are not watched")
    sizes = arrays["edge_counts"]
    _require(sizes.dtype == np.int64 and sizes.ndim == 1 and (sizes >= 0).all(), "edges are not counted")
    _require((sizes < BINS).all(), "a signal has too many edges")
    edges = np.split(_array(arrays, "edges", np.float64, (int(sizes.sum()),), finite=False), np.cumsum(sizes)[:-1])
    _require(all((np.diff(each) > 0).all() for each in edges), "edges do not rise")
    return Signals.of(columns, edges, numbers, centre, scale, directions, tuple(groups), fractional)


def _rows(name: str, table: Table, *, whole: bool = False) -> Arrays:
    told: Arrays = {f"{name}_values": table.values, f"{name}_identity": table.identity, f"{name}_time": table.time}
    return told | {f"{name}_request": table.request} if whole else told


def _table(name: str, arrays: Arrays, columns: tuple[Column, ...], most: int) -> Table:
    values = arrays[f"{name}_values"]
    count = len(values)
    _require(count <= most, f"so many rows are not kept in {name}")
    return Table(
        columns,
        _array(arrays, f"{name}_values", np.float64, (count, len(columns)), finite=False),
        _array(arrays, f"{name}_identity", np.uint64, (count,)),
        _array(arrays, f"{name}_time", np.float64, (count,)),
        _array(arrays, f"{name}_request", np.int64, (count,))
        if f"{name}_request" in arrays
        else np.zeros(count, np.int64),
    )


def _array(
    arrays: Arrays, name: str, kind: npt.DTypeLike, shape: tuple[int, ...], *, finite: bool = True
) -> npt.NDArray[Any]:
    found = arrays[name]
    _require(found.dtype == np.dtype(kind) and found.shape == shape, f"{name} is {found.dtype} {found.shape}")
    _require(not finite or found.dtype.kind != "f" or not np.isnan(found).any(), f"{name} holds NaN")
    return np.array(found)


def _indices(arrays: Arrays, name: str, count: int) -> npt.NDArray[np.intp]:
    found = arrays[name]
    _require(found.dtype == np.int64 and found.ndim == 1 and len(found) <= count, f"{name} is {found.dtype}")
    _require(((found >= 0) & (found < count)).all(), f"{name} names no column")
    return found.astype(np.intp)


def _count(told: Any) -> int:
    _require(isinstance(told, int) and 0 <= told < 1 << 62, f"{told!r} counts nothing")
    return int(told)


def _require(held: Any, what: str) -> None:
    if not held:
        raise StateError(what)
