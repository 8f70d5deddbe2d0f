"""Products of tensors, as rows are followed through them: MatMul, Gemm, Einsum and recurrent layers."""

from __future__ import annotations

from modelward.models.rows.rules import (
    ALONG,
    COUNTS,
    PLACES,
    outputs_of,
    rest_apart,
    rows_of,
    with_rows,
)
from modelward.models.rows.values import ONE, ROWS, Node, NotShown, Value


def matmul(node: Node) -> list[Value]:
    a, b = node.given(0), node.given(1)
    if node.proto.op_type != "MatMul":
        rest_apart(node, 0, 1)
    if a.rank < 2 or b.rank < 2:
        raise NotShown("it multiplies a vector")
    rank = max(a.rank, b.rank)
    places = set()
    for value, summed in ((a, a.rank - 1), (b, b.rank - 2)):
        if value.axis is not None:
            if value.axis == summed:
                raise NotShown(ALONG)
            places.add((value.axis + rank - value.rank, value.outer))
        elif not value.is_apart:
            raise NotShown(COUNTS)
    if len(places) > 1 or (a.axis is not None and b.axis is not None and next(iter(places))[0] >= rank - 2):
        raise NotShown("it multiplies rows with each other")
    ((axis, outer),) = places
    for value in (a, b):
        at = axis - (rank - value.rank)
        is_joined = value.axis is None and axis < rank - 2 and at >= 0
        if is_joined and value.dims is not None and value.dims[at] != ONE:
            raise NotShown("it joins rows with a constant that has its own")
    longer = a if a.rank == rank else b
    dims = list(longer.dims or ())
    dims[rank - 2], dims[rank - 1] = (a.dims or ())[-2], (b.dims or ())[-1]
    return [
        Value(tuple(ROWS if i == axis and outer == ONE and d is None else d for i, d in enumerate(dims)), axis, outer)
    ]


def gemm(node: Node) -> list[Value]:
    value, at = rows_of(node)
    rest_apart(node, 0, 2)
    if at != (1 if node.attribute("transA", 0) else 0):
        raise NotShown(ALONG)
    if node.has(2):
        c = node.given(2)
        if c.axis is not None and (c.axis, c.outer, c.rank) != (0, value.outer, 2):
            raise NotShown(PLACES)
        if c.axis is None and (not c.is_apart or (c.rank == 2 and c.dims and c.dims[0] != ONE)):
            raise NotShown("it joins rows with a constant that has its own")
    b = node.given(1)
    width = b.dims[0 if node.attribute("transB", 0) else 1] if b.dims and b.rank == 2 else None
    return [Value(((value.dims or ())[at], width), 0, value.outer)]


def einsum(node: Node) -> list[Value]:
    equation = node.attribute("equation", b"").decode().replace(" ", "")
    terms, _, result = equation.partition("->")
    parts = terms.split(",")
    if "." in equation or not result or len(parts) != len(node.inputs):
        raise NotShown("its equation is not followed")
    letters = {part[v.axis] for part, v in zip(parts, node.inputs, strict=True) if v is not None and v.axis is not None}
    apart = [part for part, v in zip(parts, node.inputs, strict=True) if v is not None and v.axis is None]
    if len(letters) != 1 or any(
        v is not None and (v.outer != ONE or not (v.is_apart or v.axis is not None)) for v in node.inputs
    ):
        raise NotShown(PLACES)
    letter = letters.pop()
    if letter not in result or any(letter in part for part in apart) or any(p.count(letter) > 1 for p in parts):
        raise NotShown(ALONG)
    return [with_rows(node.dims[0] or (None,) * len(result), result.index(letter))]


def recurrent(node: Node) -> list[Value]:
    """X, W, R, B, sequence_lens, initial_h, initial_c, P."""
    is_first = bool(node.attribute("layout", 0))
    wanted = {0: 0 if is_first else 1, 4: 0, 5: 0 if is_first else 1, 6: 0 if is_first else 1}
    for i, value in enumerate(node.inputs):
        if value is not None and not value.is_apart and (value.axis != wanted.get(i) or value.outer != ONE):
            raise NotShown(PLACES if value.axis is not None else COUNTS)
        if i in {4, 5, 6} and value is not None and value.is_apart:
            raise NotShown("its lengths, or its state at the beginning, are none of the rows'")
    rows_of(node)
    return [with_rows(dims, 0 if is_first else (2 if i == 0 else 1)) for i, dims in enumerate(outputs_of(node))]
