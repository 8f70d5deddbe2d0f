"""Snapshots of several processes as one, and what remains of one whose process has gone."""

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any, TypeVar

from modelward.telemetry.snapshot import Histogram

T = TypeVar("T")


def added(a: T, b: T) -> T:
    """Field by field: numbers and histograms add up, mappings are joined, and what only one of them has is taken."""
    return _added(a, b)  # type: ignore[no-any-return]


def counters(snapshot: T) -> T:
    """The snapshot with every gauge at nothing: of a process that is no more."""
    return _counters(snapshot)  # type: ignore[no-any-return]


def _added(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, Histogram):
        counts = tuple(x + y for x, y in zip(a.cumulative, b.cumulative, strict=True))
        return Histogram(a.bounds, counts, a.sum + b.sum)
    if isinstance(a, Mapping):
        return {**a, **{key: _added(a.get(key), value) for key, value in b.items()}}
    if is_dataclass(a) and not isinstance(a, type):
        return replace(a, **{f.name: _rule(f)(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)})
    return a + b


def _rule(field: Field[Any]) -> Any:
    return field.metadata.get("merge", _added)


def _counters(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _counters(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type | Histogram):
        after = {f.name: f.metadata.get("gauge", _counters(getattr(value, f.name))) for f in fields(value)}
        return replace(value, **after)
    return value
