"""Snapshots of several processes as one, and what remains of one whose process has gone."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import replace

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
    if isinstance(a, Struct):
        names = _kinds(type(a)).items()
        return replace(
            a, **{name: kind.get("merge", _added)(getattr(a, name), getattr(b, name)) for name, kind in names}
        )
    return a + b


def _counters(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _counters(each) for key, each in value.items()}
    if isinstance(value, Struct) and not isinstance(value, Histogram):
        kinds = _kinds(type(value))
        return replace(value, **{name: kinds[name].get("gauge", _counters(getattr(value, name))) for name in kinds})
    return value


@cache
def _kinds(snapshot: type[Struct]) -> dict[str, Mapping[str, Any]]:
    """One of modelward.telemetry.kinds for each field, or an empty one."""
    hints = get_type_hints(snapshot, include_extras=True)
    return {name: get_args(hint)[1] if get_origin(hint) is Annotated else {} for name, hint in hints.items()}
