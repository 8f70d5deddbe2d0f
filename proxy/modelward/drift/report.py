"""What is known of a version's drift, as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import to_builtins

from modelward.drift.against import against_training
from modelward.drift.change import Side, began, change
from modelward.drift.samples import KEPT
from modelward.drift.table import Kind, silent
from modelward.drift.watch import Watch
from modelward.observe.source import Source

UNIFORM = Side((np.arange(KEPT) + 0.5) / KEPT, np.zeros(KEPT, np.uint64))
SHOWN = 12
"""Signals of a side beside those that have changed: the ones with most evidence."""


def side_of(watch: Watch) -> dict[str, Any]:
    """state: `learning`, `quiet` or `moved`. Of each signal: nats of evidence, and what has changed where it has."""
    raised = watch.raised
    state = "learning" if watch.is_learning else "quiet" if raised is None else "moved"
    told: dict[str, Any] = {"state": state, "rows": watch.rows, "requests": watch.requests, "left_out": watch.left_out}
    told |= {"columns": len(watch.columns), "signals": [], "since": None, "raised": None}
    if watch.signals is None:
        return told
    if raised is not None:
        told |= {"since": raised.since, "raised": raised.at}
    nats, since = watch.nats(), watch.since()
    signals = watch.signals.all
    moved = (nats >= watch.alarm_at) if raised is not None else np.zeros(len(nats), np.bool_)
    if raised is not None:
        moved[raised.first] = True
    order = np.argsort(-np.where(moved, nats + 1e6, nats), kind="stable")[: max(SHOWN, int(moved.sum()))]
    kept, last = watch.before.table(), watch.recent.table()
    last = last.of(np.argsort(last.time, kind="stable"))
    before, after = watch.signals.matrix(kept), watch.signals.matrix(last)
    for i in order.tolist():
        entry: dict[str, Any] = {
            "name": signals[i].name,
            "kind": str(signals[i].kind),
            "moved": bool(moved[i]),
            "nats": max(0.0, float(nats[i])) if np.isfinite(nats[i]) else 0.0,
            "alarm_at": watch.alarm_at,
        }
        if moved[i]:
            since_ = float(since[i])
            said, said_last = ~silent(before[:, i]), ~silent(after[:, i])
            ours, theirs = said & (kept.time < since_), said_last & (last.time >= since_)
            if ours.any() and theirs.any() and signals[i].kind is not Kind.P_VALUE:
                usual = Side(before[ours, i], kept.identity[ours])
                seen = Side(after[said_last, i], last.identity[said_last])
                since_ = began(signals[i], usual, seen, last.time[said_last], since_)
                ours, theirs = said & (kept.time < since_), said_last & (last.time >= since_)
            entry["since"] = since_
            now = Side(after[theirs, i], last.identity[theirs])
            if signals[i].kind is Kind.P_VALUE and theirs.any():
                entry |= to_builtins(change(signals[i], UNIFORM, now)) | {"identities": (), "mix": 0.0}
            elif ours.any() and theirs.any():
                entry |= to_builtins(change(signals[i], Side(before[ours, i], kept.identity[ours]), now))
        told["signals"].append(entry)
    return told


def version_of(watches: Mapping[str, Watch], source: Source | None = None, **told: Any) -> dict[str, Any]:
    """watches: by side. source: what the version's observations are of. told: what else is known of the version."""
    sides = {side: side_of(watch) for side, watch in watches.items()}
    if "inputs" in sides:
        sides["inputs"]["profile"] = against_training(watches["inputs"], source) if source is not None else []
    states = [each["state"] for each in sides.values()]
    state = next((each for each in ("moved", "learning") if each in states), "quiet")
    return {**told, "state": state, **sides}
