"""What small constants hold, and what simple operators make of them: trips of loops, conditions, shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelward.scanning.datatypes import DATATYPES
from modelward.scanning.outline import Node, Tensor
from modelward.scanning.source import Source
from modelward.scanning.wire import Damaged, varints

Array = npt.NDArray[Any]

MOST_ELEMENTS = 64  # of a constant that is looked into
MOST_BYTES = 10 * MOST_ELEMENTS


def elements(dims: Sequence[int]) -> int:
    return math.prod(dims)


def value_of(tensor: Tensor, source: Source) -> Array | None:
    """The values of a small constant of numbers that lies in the model, else None."""
    kind = DATATYPES.get(tensor.datatype)
    if kind is None or not kind.numpy or tensor.is_external or any(size < 0 for size in tensor.dims):
        return None
    if elements(tensor.dims) > MOST_ELEMENTS or sum(len(places) for places in tensor.places.values()) != 1:
        return None
    ((name, (place,)),) = tensor.places.items()
    data = source.read(place[0], min(place[1], place[0] + MOST_BYTES))
    try:
        if name in ("raw_data", "float_data", "double_data"):
            found = np.frombuffer(data, kind.numpy if name == "raw_data" else {"f": "<f4", "d": "<f8"}[name[0]])
        elif kind.numpy == "<f2":
            return None
        else:
            found = np.array(varints(data, MOST_ELEMENTS), np.int64)
        return found.reshape(tensor.dims)
    except (ValueError, Damaged):  # told as a wrong length
        return None


def _concat(node: Node, given: list[Array]) -> Array:
    return np.concatenate([np.atleast_1d(array) for array in given])


def _first(node: Node, given: list[Array]) -> Array:
    return given[0]


def _column(node: Node, given: list[Array]) -> Array:
    return given[0].reshape(-1)


def _scalar(node: Node, given: list[Array]) -> Array:
    return given[0].reshape(()) if given[0].size == 1 else given[0]


def _of_two(apply: Callable[[Array, Array], Array]) -> Callable[[Node, list[Array]], Array]:
    return lambda node, given: apply(given[0], given[1])


# Shapes are kept no more exactly than trips, conditions and dimensions need.
MADE: Mapping[str, Callable[[Node, list[Array]], Array]] = {
    "Identity": _first,
    "Cast": _first,
    "Reshape": _first,
    "Squeeze": _scalar,
    "Unsqueeze": _column,
    "Flatten": _column,
    "Concat": _concat,
    "Add": _of_two(np.add),
    "Sub": _of_two(np.subtract),
    "Mul": _of_two(np.multiply),
    "Max": _of_two(np.maximum),
    "Min": _of_two(np.minimum),
    "Pow": _of_two(lambda a, b: np.power(a.astype(np.float64), b.astype(np.float64))),
    "And": _of_two(np.logical_and),
    "Or": _of_two(np.logical_or),
    "Not": lambda node, given: np.logical_not(given[0]),
    "Equal": _of_two(lambda a, b: np.asarray(a == b)),
    "Less": _of_two(lambda a, b: np.asarray(a < b)),
    "LessOrEqual": _of_two(lambda a, b: np.asarray(a <= b)),
    "Greater": _of_two(lambda a, b: np.asarray(a > b)),
    "GreaterOrEqual": _of_two(lambda a, b: np.asarray(a >= b)),
}


def made(node: Node, given: list[Array | None]) -> Array | None:
    """What the operator makes of constants, where it is a simple one and they are small; else None."""
    apply = MADE.get(node.operator)
    if apply is None or node.domain not in ("", "ai.onnx") or any(array is None for array in given):
        return None
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(apply(node, [array for array in given if array is not None]))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.size <= MOST_ELEMENTS else None


def constant(node: Node, source: Source) -> Array | None:
    """Of a node Constant."""
    for attribute in node.attributes:
        if attribute.name == "value" and attribute.tensors:
            return value_of(attribute.tensors[0], source)
        if attribute.name == "value_int" and attribute.integer is not None:
            return np.array(attribute.integer)
        if attribute.name == "value_ints" and len(attribute.integers) <= MOST_ELEMENTS:
            return np.array(attribute.integers, np.int64)
    return None


def whole(array: Array | None) -> list[int] | None:
    """As whole numbers, where they are finite ones."""
    if array is None or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        return None
    return [int(number) for number in array.ravel().tolist()]
