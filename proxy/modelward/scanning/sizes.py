"""How large the results of operators are that make much of few constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from modelward.scanning.outline import Node
from modelward.scanning.values import Array, elements, whole

LARGEST = 1 << 30  # bytes
BYTES = 4  # of an element, where its datatype is not known
TRUE: Array = np.array(True)

Shape = tuple[int, ...]


class Known(Protocol):
    """What constants tell of values by their names."""

    def value(self, name: str) -> Array | None: ...

    def shape(self, name: str) -> Shape | None: ...


LIKE_THE_FIRST = frozenset(
    """
    Abs Cast Ceil Clip Cos Dropout Elu Erf Exp Floor HardSigmoid HardSwish Identity LeakyRelu Log Neg Not Reciprocal
    Relu Round Sigmoid Sign Sin Softmax Softplus Sqrt Tanh Transpose
    """.split()  # noqa: SIM905 - a line of each would be a page
)
BROADCAST = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Equal", "Less", "Greater", "And", "Or", "Xor"})


def bytes_of(shape: Shape) -> int:
    return BYTES * elements(shape)


def made(node: Node, known: Known) -> Shape | None:
    """The shape of the first output, or one of no more elements than it has; None where constants do not tell."""
    if node.domain not in ("", "ai.onnx"):
        return None
    names = [*node.inputs, "", "", ""]
    if node.operator in LIKE_THE_FIRST:
        return known.shape(names[0])
    if node.operator in BROADCAST:
        return _broadcast([known.shape(name) for name in node.inputs])
    if (sized := SIZED.get(node.operator)) is None:
        return None
    return sized(node, names, known)


def _broadcast(given: list[Shape | None]) -> Shape | None:
    known = [shape for shape in given if shape is not None]
    if len(known) != len(given) or not known:
        return None
    rank = max(map(len, known))
    padded = [(1,) * (rank - len(shape)) + shape for shape in known]
    return tuple(max(sizes) for sizes in zip(*padded, strict=True))


def _positive(numbers: list[int] | None) -> Shape | None:
    return None if numbers is None else tuple(max(1, number) for number in numbers)


def _constant_of_shape(node: Node, names: list[str], known: Known) -> Shape | None:
    return _positive(whole(known.value(names[0])))


def _expand(node: Node, names: list[str], known: Known) -> Shape | None:
    wanted = _positive(whole(known.value(names[1])))
    return wanted if wanted is None else _broadcast([wanted, known.shape(names[0]) or ()])


def _tile(node: Node, names: list[str], known: Known) -> Shape | None:
    repeats = _positive(whole(known.value(names[1])))
    return None if repeats is None else (elements(repeats) * max(1, elements(known.shape(names[0]) or ())),)


def _range(node: Node, names: list[str], known: Known) -> Shape | None:
    first, last, step = (known.value(name) for name in names[:3])
    if first is None or last is None or step is None or not first.size or not last.size or not step.size:
        return None
    begin, end, by = (float(array.ravel()[0]) for array in (first, last, step))
    steps = (end - begin) / by if by else 0.0
    return (max(0, math.ceil(steps)),) if math.isfinite(steps) else None


def _one_hot(node: Node, names: list[str], known: Known) -> Shape | None:
    depth = _positive(whole(known.value(names[1])))
    return None if depth is None else (elements(depth) * max(1, elements(known.shape(names[0]) or ())),)


def _pad(node: Node, names: list[str], known: Known) -> Shape | None:
    """Padding alone: what is padded has at least one element."""
    pads = whole(known.value(names[1]))
    if pads is None and (attribute := node.attribute("pads")) is not None:
        pads = attribute.integers
    if not pads:
        return None
    half = len(pads) // 2
    padded = known.shape(names[0]) or ()
    padded = padded if len(padded) == half else (1,) * half
    return tuple(max(0, begin + end + size) for begin, end, size in zip(pads[:half], pads[half:], padded, strict=False))


def _resize(node: Node, names: list[str], known: Known) -> Shape | None:
    wanted = whole(known.value([*names, ""][3])) if node.operator == "Resize" and len(node.inputs) > 3 else None
    if wanted:
        return _positive(wanted)
    scales = _positive(whole(known.value(names[2] if node.operator == "Resize" and names[2] else names[1])))
    return None if scales is None else (elements(scales) * max(1, elements(known.shape(names[0]) or ())),)


def _random(node: Node, names: list[str], known: Known) -> Shape | None:
    attribute = node.attribute("shape")
    return None if attribute is None else _positive(attribute.integers)


def _window(node: Node, names: list[str], known: Known) -> Shape | None:
    return _positive(whole(known.value(names[0])))


def _concat(node: Node, names: list[str], known: Known) -> Shape | None:
    given = [known.shape(name) for name in node.inputs]
    sizes = [elements(shape) for shape in given if shape is not None]
    return (sum(sizes),) if len(sizes) == len(given) else None


def _matmul(node: Node, names: list[str], known: Known) -> Shape | None:
    left, right = known.shape(names[0]), known.shape(names[1])
    if not left or not right or len(left) < 2 or len(right) < 2:
        return None
    return (*left[:-1], right[-1])


SIZED: Mapping[str, Callable[[Node, list[str], Known], Shape | None]] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    "RandomNormal": _random,
    "RandomUniform": _random,
    "HannWindow": _window,
    "HammingWindow": _window,
    "BlackmanWindow": _window,
    "Concat": _concat,
    "MatMul": _matmul,
}
