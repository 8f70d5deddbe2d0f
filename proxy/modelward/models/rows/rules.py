"""What the rules for single operators have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from modelward.models.rows.values import ONE, ROWS, Element, Node, NotShown, Size, Value

Rule = Callable[[Node], list[Value]]


Dims = tuple[Size | None, ...]


ALONG = "it works along the axis of the rows"


COUNTS = "it uses how many rows there are"


PLACES = "rows stand in different places of what it joins"


WEIGHTS = "rows are its weights"


def outputs_of(node: Node) -> list[Dims | None]:
    return [*node.dims] or [None]


def rows_of(node: Node, position: int = 0) -> tuple[Value, int]:
    """The input that has the rows, and their axis."""
    value = node.given(position)
    if value.axis is None:
        raise NotShown(COUNTS if not value.is_apart else WEIGHTS)
    return value, value.axis


def rest_apart(node: Node, *positions: int) -> None:
    """All inputs but these are the same for all rows."""
    for i, value in enumerate(node.inputs):
        if i not in positions and value is not None and not value.is_apart:
            raise NotShown(WEIGHTS if value.axis is not None else COUNTS)


def product(sizes: Sequence[Size | None]) -> Size | None:
    known = [size for size in sizes if size is not None]
    return reduce(Size.times, known, ONE) if len(known) == len(sizes) else None


def elementwise(node: Node) -> list[Value]:
    values = [value for value in node.inputs if value is not None]
    rank = max(value.rank for value in values)
    found = {(v.axis + rank - v.rank, v.outer) for v in values if v.axis is not None}
    if len(found) != 1 or any(v.axis is None and not v.is_apart for v in values):
        raise NotShown(PLACES if len(found) > 1 else COUNTS)
    ((axis, outer),) = found
    for value in values:
        at = axis - (rank - value.rank)
        if value.axis is None and at >= 0 and value.dims is not None and value.dims[at] != ONE:
            raise NotShown("it joins rows with a constant that has its own")
    dims = tuple(
        _joined([v.dims[i - rank + v.rank] for v in values if v.dims and i >= rank - v.rank]) for i in range(rank)
    )
    return [Value(dims, axis, outer) for _ in node.proto.output]


def _joined(sizes: Sequence[Size | None]) -> Size | None:
    left = {size for size in sizes if size != ONE}
    return left.pop() if len(left) == 1 else (None if left else ONE)


def reduced(value: Value, at: int, gone: set[int], *, keep: bool) -> Value:
    dims = value.dims or ()
    if keep:
        return Value(tuple(ONE if i in gone else d for i, d in enumerate(dims)), at, value.outer)
    left = tuple(d for i, d in enumerate(dims) if i not in gone)
    return Value(left, at - sum(axis < at for axis in gone), value.outer)


def is_rows(element: Element) -> bool:
    return isinstance(element, Size) and element.rows > 0


def with_rows(dims: Dims | None, axis: int = 0) -> Value:
    return Value(None if dims is None else (*dims[:axis], ROWS, *dims[axis + 1 :]), axis)
