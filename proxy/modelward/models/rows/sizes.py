"""Operators of ONNX that compute shapes, as rows are followed through them."""

from __future__ import annotations

from modelward.models.rows.rules import COUNTS, Rule, elementwise, is_rows, product
from modelward.models.rows.values import APART, MIXED, ONE, ROWS, Element, Node, NotShown, Size, Value, constant


def _constant_of_shape(node: Node) -> list[Value]:
    shape = node.given(0)
    if shape.small is None:
        raise NotShown("the shape that it makes is not known")
    found = [i for i, e in enumerate(shape.small) if is_rows(e)]
    if MIXED in shape.small or len(found) > 1:
        raise NotShown(COUNTS)
    dims = tuple(e if isinstance(e, Size) else None for e in shape.small)
    if found:
        if dims[found[0]] != ROWS:
            raise NotShown(COUNTS)
        return [Value(dims, found[0])]
    small = None
    if len(dims) == 1 and dims[0] is not None and not dims[0].names and 0 <= dims[0].number <= 16:
        filled = node.attribute("value")
        element = constant(filled).small if filled is not None else (Size(0),)
        small = element * dims[0].number if element else None
    return [Value(dims, small=small)]


def _shape(node: Node) -> list[Value]:
    value = node.given(0)
    if value.dims is None:
        if value.is_apart:
            return [Value((None,))]
        raise NotShown(COUNTS)
    name = node.proto.input[0]
    dims = value.dims[slice(node.attribute("start", 0), node.attribute("end"))]
    first = range(value.rank)[slice(node.attribute("start", 0), node.attribute("end"))]
    small: list[Element] = []
    for i, size in zip(first, dims, strict=True):
        unknown = MIXED if i == value.axis else Size(1, (f"{name}[{i}]",))
        small.append(size if size is not None else unknown)
    return [Value((Size(len(small)),), small=tuple(small))]


def _size(node: Node) -> list[Value]:
    value = node.given(0)
    total = product(value.dims) if value.dims is not None else None
    unknown = APART if value.is_apart else MIXED
    return [Value((), small=(total if total is not None else unknown,))]


def _arithmetic(node: Node) -> list[Value]:
    """On shapes; anything else is element by element."""
    values = [value for value in node.inputs if value is not None]
    if any(value.axis is not None for value in values):
        return elementwise(node)
    if any(value.small is None for value in values):
        if all(value.is_apart for value in values):
            return [Value(node.dims[0])]
        raise NotShown(COUNTS)
    smalls = [value.small or () for value in values]
    length = max(map(len, smalls))
    if any(len(small) not in {1, length} for small in smalls):
        raise NotShown(COUNTS)
    columns = zip(*(small * (length if len(small) == 1 else 1) for small in smalls), strict=True)
    rank = max((value.rank for value in values if value.dims is not None), default=1)
    made = tuple(_computed(node.proto.op_type, column) for column in columns)
    return [Value(() if rank == 0 else (Size(length),), small=made)]


def _computed(name: str, given: tuple[Element, ...]) -> Element:
    if name in {"Identity", "Cast"}:
        return given[0]
    if name == "Where":  # of what is written for -1 in a shape
        chosen = given[0]
        if isinstance(chosen, Size) and not chosen.names and not chosen.rows:
            return given[1] if chosen.number else given[2]
    sizes = [e for e in given if isinstance(e, Size)]
    if len(sizes) == len(given):
        a, *others = sizes
        b = others[0] if others else ONE
        if name == "Mul":
            return a.times(b)
        if name == "Div" and (whole := a.over(b)) is not None:
            return whole
        if name == "Equal":
            if a == b:
                return ONE
            if any(not e.names and not e.rows and e.number < 0 for e in sizes) or not (
                a.names or b.names or a.rows or b.rows
            ):
                return Size(0)
        if not any(e.names or e.rows for e in sizes) and name in {"Add", "Sub"}:
            return Size(a.number + b.number if name == "Add" else a.number - b.number)
    return MIXED if any(is_rows(e) or e == MIXED for e in given) else APART


def _constant(node: Node) -> list[Value]:
    value = node.attribute("value")
    if value is not None:
        return [constant(value)]
    numbers = node.attribute("value_ints")
    if numbers is None and (one := node.attribute("value_int")) is not None:
        return [Value((), small=(Size(one),))]
    return (
        [Value((Size(len(numbers)),), small=tuple(map(Size, numbers)))]
        if numbers is not None
        else [Value(node.dims[0])]
    )


SIZES: dict[str, Rule] = {
    "Shape": _shape,
    "Size": _size,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    **dict.fromkeys(("Identity", "Cast", "Mul", "Div", "Add", "Sub", "Equal", "Where"), _arithmetic),
}
