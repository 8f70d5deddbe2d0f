"""What is known of tensors as rows are followed through a graph, and of the operators that make them."""

from __future__ import annotations

from typing import Any

import onnx
from msgspec import Struct
from onnx import numpy_helper

LARGEST_KEPT = 4096  # bytes of a constant whose values are looked at; shapes are far smaller


class Size(Struct, frozen=True):
    """A product: a number, names of dimensions that do not depend on the rows, and `rows` times the number of rows."""

    number: int = 1
    names: tuple[str, ...] = ()
    rows: int = 0

    def times(self, other: Size) -> Size:
        names = tuple(sorted(self.names + other.names))
        return Size(self.number * other.number, names, self.rows + other.rows)

    def over(self, other: Size) -> Size | None:
        """The quotient where it is known to be whole, else None."""
        left = list(self.names)
        for name in other.names:
            if name not in left:
                return None
            left.remove(name)
        if other.number == 0 or self.number % other.number or self.rows < other.rows:
            return None
        return Size(self.number // other.number, tuple(left), self.rows - other.rows)


ONE, ROWS = Size(), Size(rows=1)


# of an element of a small tensor: a Size, or one of these
APART = "apart"  # a number that does not depend on the rows


MIXED = "mixed"  # one that does, in a way that is not followed


Element = Size | str


class Value(Struct, frozen=True):
    """What is known of a tensor. axis: which one counts the rows, None where it does not depend on them; `outer` is how
    often rows are repeated before them within that axis. dims: None where not even the rank is known. small: the
    elements of a whole-number tensor of at most one dimension, where they are known.
    """

    dims: tuple[Size | None, ...] | None = None
    axis: int | None = None
    outer: Size = ONE
    small: tuple[Element, ...] | None = None

    @property
    def is_apart(self) -> bool:
        """It is the same whichever rows there are."""
        return self.axis is None and not any(_counts_rows(element) for element in self.small or ())

    @property
    def rank(self) -> int:
        if self.dims is None:
            raise NotShown("the rank of what it works on is not known")
        return len(self.dims)


def _counts_rows(element: Element) -> bool:
    return element == MIXED or (isinstance(element, Size) and element.rows > 0)


class NotShown(Exception):
    """Why an operator is not shown to keep rows apart."""


class Node(Struct, frozen=True):
    """An operator with what is known of its inputs; None where an optional one is left out."""

    proto: Any
    opset: int
    inputs: tuple[Value | None, ...]
    dims: tuple[tuple[Size | None, ...] | None, ...]  # of its outputs, as far as they are inferred

    def attribute(self, name: str, default: Any = None) -> Any:
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return onnx.helper.get_attribute_value(attribute)
        return default

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def given(self, position: int) -> Value:
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise NotShown("an input is missing")
        return found

    def numbers(self, position: int) -> list[int]:
        """The values of an input that says how, not what."""
        small = self.given(position).small
        if small is None or not all(isinstance(e, Size) and not e.names and not e.rows for e in small):
            raise NotShown("how it works depends on values that are not known")
        return [e.number for e in small if isinstance(e, Size)]

    def along(self, axis: int, value: Value) -> int:
        """An axis as it is written, counted from the first."""
        return axis + value.rank if axis < 0 else axis


def constant(tensor: Any) -> Value:
    """Of a TensorProto."""
    dims = tuple(Size(size) for size in tensor.dims)
    is_number = tensor.data_type in {onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.FLOAT}
    is_here = tensor.ByteSize() <= LARGEST_KEPT and tensor.data_location != onnx.TensorProto.EXTERNAL
    if len(dims) > 1 or not is_number or not is_here:
        return Value(dims)
    numbers = numpy_helper.to_array(tensor).ravel().tolist()
    whole = [float(each).is_integer() for each in numbers]
    return Value(dims, small=tuple(Size(int(n)) if w else APART for n, w in zip(numbers, whole, strict=True)))
