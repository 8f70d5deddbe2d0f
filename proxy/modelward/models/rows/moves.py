"""Operators of ONNX that move, cut and join tensors, as rows are followed through them."""

from __future__ import annotations

from modelward.models.rows.rules import ALONG, COUNTS, PLACES, Rule, is_rows, product, reduced, rest_apart, rows_of
from modelward.models.rows.values import APART, MIXED, ONE, ROWS, Node, NotShown, Size, Value


def _axes(node: Node) -> list[int] | None:
    axes = node.attribute("axes")
    return list(axes) if axes is not None else (node.numbers(1) if node.has(1) else None)


def _squeeze(node: Node) -> list[Value]:
    value = node.given(0)
    axes = _axes(node)
    if value.small is not None and value.axis is None:
        return [Value((), small=value.small)] if len(value.small) == 1 else [value]
    if value.axis is None:
        return [Value(node.dims[0])]
    if axes is None:
        raise NotShown("it leaves out the axis of the rows where there is one row")
    gone = {node.along(axis, value) for axis in axes}
    if value.axis in gone:
        raise NotShown(ALONG)
    return [reduced(value, value.axis, gone, keep=False)]


def _unsqueeze(node: Node) -> list[Value]:
    value = node.given(0)
    if value.small is not None and value.axis is None and value.dims == ():
        return [Value((ONE,), small=value.small)]
    axes = _axes(node) or []
    if value.axis is None:
        if not value.is_apart:
            raise NotShown(COUNTS)
        return [Value(node.dims[0])]
    rank = value.rank + len(axes)
    new = {axis + rank if axis < 0 else axis for axis in axes}
    old = iter(value.dims or ())
    places = [i for i in range(rank) if i not in new]
    return [Value(tuple(ONE if i in new else next(old) for i in range(rank)), places[value.axis], value.outer)]


def _reshape(node: Node) -> list[Value]:
    value, shape = node.given(0), node.given(1)
    if value.axis is None:
        if value.small is not None and shape.small is not None and len(shape.small) <= 1:
            return [Value(None if not shape.small else (Size(len(value.small)),), small=value.small)]
        if shape.is_apart and value.is_apart:
            return [Value(node.dims[0])]
        raise NotShown(COUNTS)
    if shape.small is None or MIXED in shape.small:
        raise NotShown("the shape that it makes is not known")
    dims, at = value.dims or (), value.axis
    data, to = node.proto.input[0], node.proto.input[1]
    wanted = [e if isinstance(e, Size) else Size(1, (f"{to}#{i}",)) for i, e in enumerate(shape.small)]
    if not node.attribute("allowzero", 0):
        for i, size in enumerate(wanted):
            if size == Size(0) and i < len(dims):  # as it was
                wanted[i] = dims[i] or Size(1, (f"{data}[{i}]",))
    if sum(size.rows for size in wanted) > 1:
        raise NotShown(COUNTS)
    before, after = product(dims[:at]), product(dims[at + 1 :])
    whole = dims[at]
    if before is None or whole is None:
        raise NotShown("the dimensions of what it works on are not known")
    inner = whole.over(value.outer.times(ROWS))
    if inner is None:
        raise NotShown("the dimensions of what it works on are not known")
    outer, after = before.times(value.outer), after and after.times(inner)
    return [_placed(wanted, outer, after)]


REST = Size(-1)


def _placed(wanted: list[Size], outer: Size, after: Size | None) -> Value:
    """Where the rows are among the dimensions that are wanted: `outer` times rows times `after`, in this order."""
    for i, size in enumerate(wanted):
        left = outer
        for earlier in wanted[:i]:
            left = left.over(earlier) if left is not None and earlier != REST else None  # type: ignore[assignment]
        if left is None:
            break
        if not (size.rows == 1 or size == REST):
            continue
        following = product([None if each == REST else each for each in wanted[i + 1 :]])
        if size == REST:
            inner = after.over(following) if after is not None and following is not None else None
            if inner is None or any(each.rows for each in wanted):
                continue
            size = left.times(ROWS).times(inner)  # noqa: PLW2901 - what is written as the rest
        elif size.over(left.times(ROWS)) is None:
            continue
        dims = tuple(size if j == i else (None if each == REST else each) for j, each in enumerate(wanted))
        if following is None and after is not None:
            others = product([each for each in wanted[i + 1 :] if each != REST])
            inner = size.over(left.times(ROWS))
            rest = after.over(others.times(inner)) if others is not None and inner is not None else None
            dims = tuple(rest if d is None else d for d in dims)
        return Value(dims, i, left)
    raise NotShown("it may put parts of different rows together")


def _expand(node: Node) -> list[Value]:
    value, shape = node.given(0), node.given(1)
    if shape.small is None:
        raise NotShown("the shape that it makes is not known")
    found = [i for i, e in enumerate(shape.small) if is_rows(e)]
    if MIXED in shape.small or len(found) > 1:
        raise NotShown(COUNTS)
    dims = tuple(e if isinstance(e, Size) else None for e in shape.small)
    rank = max(len(dims), value.rank)
    dims = (*((None,) * (rank - len(dims))), *dims)
    axis = None if value.axis is None else value.axis + rank - value.rank
    if found:
        at = found[0] + rank - len(shape.small)
        own = at - (rank - value.rank)
        is_joined = axis is None and own >= 0 and (value.dims or ())[own] != ONE
        if axis not in {None, at} or is_joined or value.outer != ONE or dims[at] != ROWS:
            raise NotShown(PLACES)
        return [Value(dims, at)]
    if axis is None:
        return [Value(dims)]
    if dims[axis] not in {None, ONE} or (len(shape.small) + axis >= rank and APART in shape.small[axis - rank :][:1]):
        raise NotShown(PLACES)
    rows = (value.dims or ())[axis - (rank - value.rank)]
    return [Value((*dims[:axis], rows, *dims[axis + 1 :]), axis, value.outer)]


def _concat(node: Node) -> list[Value]:
    values = [value for value in node.inputs if value is not None]
    if all(value.axis is None for value in values):
        if all(value.small is not None for value in values):
            small = tuple(e for value in values for e in value.small or ())
            return [Value((Size(len(small)),), small=small)]
        if all(value.is_apart for value in values):
            return [Value(node.dims[0])]
        raise NotShown(COUNTS)
    places = {(value.axis, value.outer) for value in values}
    if len(places) != 1:
        raise NotShown(PLACES)
    value, at = rows_of(node)
    axis = node.along(node.attribute("axis", 0), value)
    if axis == at:
        raise NotShown(ALONG)
    total: Size | None = Size(0)
    for each in values:
        size = (each.dims or ())[axis]
        is_number = size is not None and not size.names
        total = Size(total.number + size.number) if total is not None and size is not None and is_number else None
    return [Value(tuple(total if i == axis else d for i, d in enumerate(value.dims or ())), at, value.outer)]


def _slice(node: Node) -> list[Value]:
    value = node.given(0)
    if value.axis is None and value.small is None and node.has(3) and value.dims is not None:
        rest_apart(node)
        changed = {node.along(axis, value) for axis in node.numbers(3)}
        return [Value(tuple(None if i in changed else d for i, d in enumerate(value.dims)))]
    if node.attribute("starts") is not None:
        starts, ends = list(node.attribute("starts")), list(node.attribute("ends"))
        axes, steps = list(node.attribute("axes") or range(len(starts))), [1] * len(starts)
    elif value.small is None and value.axis is not None:
        axes = node.numbers(3) if node.has(3) else [*range(len(node.given(1).small or ()))]
        if value.axis in {node.along(axis, value) for axis in axes}:
            starts, ends = node.numbers(1), node.numbers(2)
            steps = node.numbers(4) if node.has(4) else [1] * len(starts)
        else:
            rest_apart(node, 0)
            starts, ends, steps = [0] * len(axes), [0] * len(axes), [1] * len(axes)
    else:
        starts, ends = node.numbers(1), node.numbers(2)
        axes = node.numbers(3) if node.has(3) else [*range(len(starts))]
        steps = node.numbers(4) if node.has(4) else [1] * len(starts)
    if value.axis is None:
        if value.small is None:
            return [Value(node.dims[0])]
        cut = value.small[starts[0] : ends[0] : steps[0]] if axes else value.small
        return [Value((Size(len(cut)),), small=cut)]
    touched = {node.along(axis, value): i for i, axis in enumerate(axes)}
    if (i := touched.get(value.axis)) is not None and (starts[i] != 0 or ends[i] < 2**31 - 1 or steps[i] != 1):
        raise NotShown(ALONG)
    inferred = node.dims[0] or (None,) * value.rank
    dims = tuple(inferred[i] if i in touched and i != value.axis else d for i, d in enumerate(value.dims or ()))
    return [Value(dims, value.axis, value.outer)]


def _gather(node: Node) -> list[Value]:
    data, index = node.given(0), node.given(1)
    axis = node.attribute("axis", 0)
    if data.small is not None and data.axis is None and index.is_apart and index.small is not None:
        picked = tuple(data.small[i] for i in node.numbers(1) if -len(data.small) <= i < len(data.small))
        return [Value(() if index.dims == () else (Size(len(picked)),), small=picked)]
    if data.axis is None and index.axis is None:
        if data.is_apart and index.is_apart:
            return [Value(node.dims[0])]
        raise NotShown(COUNTS)
    axis = node.along(axis, data)
    dims = (*(data.dims or ())[:axis], *(index.dims or ()), *(data.dims or ())[axis + 1 :])
    if data.axis is None:
        if not data.is_apart or index.axis is None:
            raise NotShown(COUNTS)
        return [Value(dims, axis + index.axis, index.outer)]
    if index.axis is not None or not index.is_apart:
        raise NotShown("rows choose among rows")
    if axis == data.axis:
        raise NotShown(ALONG)
    return [Value(dims, data.axis if axis > data.axis else data.axis + index.rank - 1, data.outer)]


MOVES: dict[str, Rule] = {
    "Expand": _expand,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
}
