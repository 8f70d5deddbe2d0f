"""A constant answer: nested lists in the configuration, validated against the model's outputs, kept as wire bytes."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from modelward.problem import Problem, ProblemsFound
from modelward.suggest import suggestion
from modelward.tensors import TensorSpec

# of struct; BF16 is rounded to the upper half of a float
_FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "BF16": "f",
    "FP32": "f",
    "FP64": "d",
}
LARGEST_BF16 = 3.3895313892515355e38
LARGEST = {"FP16": 65504.0, "BF16": LARGEST_BF16, "FP32": 3.4028234663852886e38, "FP64": sys.float_info.max}
# A value is written by hand: this bounds a scalar that fills a large fixed shape.
MOST_ELEMENTS = 16 * 2**20


class _Mismatch(ValueError):
    """The value does not fit its output."""


class ConstantOutput(Struct, frozen=True):
    """One output of the answer. raw: row-major little-endian elements, BYTES each with a 4-byte length before it.

    repeats: the first dimension is 1 and stands for every row of the request, so the answer holds `raw` once per row.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes
    repeats: bool


class FallbackValue(Struct, frozen=True):
    """outputs: one for each output of the model, in the model's order."""

    outputs: tuple[ConstantOutput, ...]

    @classmethod
    def compile(cls, outputs: Sequence[TensorSpec], value: Mapping[str, Any], where: str) -> FallbackValue:
        """Holds `value` (output name -> scalar or nested list) against `outputs`; `where` is for messages.

        A scalar fills the output's shape. On a dynamic first axis the value has exactly one row, which is repeated; one
        row also fills a fixed first axis. Raises ProblemsFound for a missing or unknown output, a shape that differs
        and an element that the datatype cannot hold (300 in INT8, NaN in INT32, 1e39 in FP32).
        """
        names = [spec.name for spec in outputs]
        problems = []
        for name in value:
            if name not in names:
                how = suggestion(name, names) or f"Outputs are {', '.join(names)}"
                problems.append(Problem(f"the value names an unknown output {name[:128]!r}", where, how=how))
        compiled = []
        for spec in outputs:
            if spec.name not in value:
                problems.append(Problem(f"the value leaves out the output {spec.name}", where, how=f"Give {spec}"))
                continue
            try:
                compiled.append(_constant(spec, value[spec.name]))
            except _Mismatch as mismatch:
                problems.append(
                    Problem(f"the value of {spec.name} does not fit: {mismatch}", where, how=f"Give {spec}")
                )
        if problems:
            raise ProblemsFound(problems)
        return cls(tuple(compiled))


def _constant(spec: TensorSpec, value: object) -> ConstantOutput:
    shape, elements = _flatten(value)
    times = 1
    if not shape and spec.shape:
        shape = _filled_shape(spec)
        times = math.prod(shape)
    repeats = bool(spec.shape) and spec.shape[0] == -1
    _check_shape(spec, shape)
    raw = _encode(spec.datatype, elements) * times
    if spec.shape and not repeats and shape[0] == 1:
        raw *= spec.shape[0]
        shape = (spec.shape[0], *shape[1:])
    return ConstantOutput(spec.name, spec.datatype, shape, raw, repeats)


def _filled_shape(spec: TensorSpec) -> tuple[int, ...]:
    if -1 in spec.shape[1:]:
        raise _Mismatch("one number does not tell the size of a dynamic axis")
    shape = (1, *spec.shape[1:])
    if math.prod(shape) > MOST_ELEMENTS:
        raise _Mismatch(f"it has more than {MOST_ELEMENTS} elements")
    return shape


def _check_shape(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    if len(shape) != len(spec.shape):
        raise _Mismatch(f"it has {len(shape)} dimensions, the output has {len(spec.shape)}")
    for axis, (given, declared) in enumerate(zip(shape, spec.shape, strict=True)):
        if axis == 0 and declared == -1 and given != 1:
            raise _Mismatch(f"it has {given} rows, where one is repeated for every row of the request")
        if declared not in (-1, given) and not (axis == 0 and given == 1):
            raise _Mismatch(f"dimension {axis} is {given}, the output has {declared}")


def _flatten(value: object) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and elements of a nested list; (), [value] for a scalar."""
    shape: list[int] = []
    level: list[Any] = [value]
    while level and any(isinstance(item, list) for item in level):
        lengths = {len(item) if isinstance(item, list) else -1 for item in level}
        if len(lengths) != 1:
            raise _Mismatch("its lists have different lengths")
        shape.append(lengths.pop())
        level = [element for item in level for element in item]
    return tuple(shape), level


def _encode(datatype: str, elements: list[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(_length_prefixed(element) for element in elements)
    check = _bool if datatype == "BOOL" else _float if datatype[0] in "FB" else _integer
    packed = struct.pack(f"<{len(elements)}{_FORMATS[datatype]}", *(check(datatype, each) for each in elements))
    return _upper_halves(packed) if datatype == "BF16" else packed


def _length_prefixed(element: object) -> bytes:
    if not isinstance(element, str):
        raise _Mismatch(f"{_shown(element)} is no text; write it in quotes")
    try:
        data = element.encode()
    except UnicodeEncodeError as error:
        raise _Mismatch(f"{_shown(element)} is no UTF-8 text") from error
    return struct.pack("<I", len(data)) + data


def _bool(datatype: str, element: object) -> bool:
    if not isinstance(element, bool):
        raise _Mismatch(f"{_shown(element)} is neither true nor false")
    return element


def _integer(datatype: str, element: object) -> int:
    if not isinstance(element, int) or isinstance(element, bool):
        raise _Mismatch(f"{_shown(element)} is no whole number")
    bits = 8 * struct.calcsize(f"<{_FORMATS[datatype]}")
    least, most = (0, 2**bits) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not least <= element < most:
        raise _Mismatch(f"{_shown(element)} is beyond {datatype}")
    return element


def _float(datatype: str, element: object) -> float:
    """NaN and infinities stay as they are, if written so; a finite number must stay finite."""
    if not isinstance(element, int | float) or isinstance(element, bool):
        raise _Mismatch(f"{_shown(element)} is no number")
    largest = LARGEST[datatype]
    if isinstance(element, float) and not math.isfinite(element):
        return element
    if not -largest <= element <= largest:
        raise _Mismatch(f"{_shown(element)} is beyond {datatype}")
    return float(element)


def _shown(element: object) -> str:
    return repr(element)[:40]


def _upper_halves(singles: bytes) -> bytes:
    """FP32 to BF16: the upper 16 bits, rounded to nearest, ties to even; NaN stays NaN."""
    bits = array("I", singles)
    return array("H", (_upper_half(each) for each in bits)).tobytes()


def _upper_half(bits: int) -> int:
    if bits & 0x7FFFFFFF > 0x7F800000:
        return 0x7FC0
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
