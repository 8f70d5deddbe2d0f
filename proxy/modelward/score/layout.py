"""Which features the inputs of a model become: the Python half of score/gather.c, which does the same per
request.

| input | per row | becomes |
|---|---|---|
| values | a fixed number of numbers, at most 4096 | one feature each |
| blocks | a fixed number of numbers above 4096 (an image) | mean and deviation of 64 blocks: 128 features |
| varying | numbers, how many differs by request | mean and deviation of 16 blocks, log(1 + count): 33 features |
| categories | a fixed number of BYTES, at most 4096 | one category column each |
| words | BYTES, more or varying | one category column for all |
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from modelward.score.errors import ProfileError
from modelward_native.score.score import (
    BLOCKS,
    CATEGORIES,
    FIXED_BLOCKS,
    MAX_INPUTS,
    MAX_VALUES,
    VALUES,
    VARYING,
    VARYING_BLOCKS,
    WORDS,
)

KIND_NAMES = {VALUES: "values", BLOCKS: "blocks", VARYING: "varying", CATEGORIES: "categories", WORDS: "words"}
MAX_MAGNITUDE = 1e100  # its square is still a double

Data = npt.ArrayLike | Mapping[str, Any]
Doubles = npt.NDArray[np.float64]


class Input(Struct, frozen=True):
    """One input: name ("" where a profile was fitted on one nameless table), kind, elements per row or -1 where they
    vary, and the part of the row it fills: features or category columns first .. first + width."""

    name: str
    kind: int
    elements: int
    first: int
    width: int

    @property
    def is_text(self) -> bool:
        return self.kind in (CATEGORIES, WORDS)


class Layout(Struct, frozen=True):
    inputs: tuple[Input, ...]

    @property
    def features(self) -> int:
        return sum(i.width for i in self.inputs if not i.is_text)

    @property
    def columns(self) -> int:
        return sum(i.width for i in self.inputs if i.is_text)

    def column_name(self, column: int) -> str:
        """Name of feature `column`, or of category column `column - features`."""
        text = column >= self.features
        at = column - self.features if text else column
        i = next(i for i in self.inputs if i.is_text == text and i.first <= at < i.first + i.width)
        place = at - i.first
        if i.kind in (BLOCKS, VARYING):
            if place == 2 * VARYING_BLOCKS and i.kind == VARYING:
                return f"{i.name}.elements"
            return f"{i.name}.{'deviation' if place % 2 else 'mean'}[{place // 2}]"
        if i.kind == WORDS or (i.elements == 1 and i.name):
            return i.name
        return f"{i.name}[{place}]"

    def rows(self, data: Data) -> Rows:
        """`data` as features and category values; ProfileError where it does not have this layout."""
        arrays = tables(data)
        if {i.name for i in self.inputs} != set(arrays):
            known, given = (", ".join(map(repr, names)) for names in ([i.name for i in self.inputs], arrays))
            raise ProfileError(f"the profile was fitted on the inputs {known}, not on {given}")
        for i in self.inputs:
            array = arrays[i.name]
            if i.is_text != is_text(array):
                raise ProfileError(f"input {i.name!r} holds {'BYTES' if i.is_text else 'numbers'} in this profile")
            found = elements_per_row(array)
            if i.elements >= 0 and found != i.elements:
                raise ProfileError(f"input {i.name!r} has {i.elements} elements per row in this profile, not {found}")
        return Rows.extract(self, arrays)


class Rows(Struct, frozen=True):
    """features (n, f) float64; categories: for each category column the values of every row, a list of bytes each."""

    features: Doubles
    categories: tuple[list[list[bytes]], ...]

    @staticmethod
    def extract(layout: Layout, arrays: Mapping[str, npt.NDArray[Any]]) -> Rows:
        count = len(next(iter(arrays.values())))
        features: list[Doubles] = [np.empty((count, 0))]
        categories: list[list[list[bytes]]] = []
        for i in layout.inputs:
            if i.is_text:
                categories += _categories(i, arrays[i.name])
            else:
                features.append(_features(i, arrays[i.name]))
        return Rows(np.concatenate(features, axis=1), tuple(categories))


def infer(arrays: Mapping[str, npt.NDArray[Any]], varying: Collection[str] = ()) -> Layout:
    """The layout that these training arrays ask for. Inputs named in `varying` are reduced like inputs whose elements
    per row differ even where in training they do not: the model would accept other lengths."""
    if strange := set(varying) - set(arrays):
        raise ProfileError(f"there is no input {sorted(strange)[0]!r} whose length could vary")
    if len(arrays) > MAX_INPUTS:
        raise ProfileError(f"a model has at most {MAX_INPUTS} inputs, not {len(arrays)}")
    described: list[tuple[str, int, int]] = []
    for name, array in arrays.items():
        elements = -1 if name in varying else elements_per_row(array)
        many = elements > MAX_VALUES
        if is_text(array):
            kind = WORDS if elements < 0 or many else CATEGORIES
        else:
            kind = VARYING if elements < 0 else BLOCKS if many else VALUES
        described.append((name, kind, elements))
    return plan(described)


def plan(described: Iterable[tuple[str, int, int]]) -> Layout:
    """The layout of inputs (name, kind, elements per row): each fills what follows the one before it."""
    inputs: list[Input] = []
    first = {True: 0, False: 0}
    for name, kind, elements in described:
        width = {BLOCKS: 2 * FIXED_BLOCKS, VARYING: 2 * VARYING_BLOCKS + 1, WORDS: 1}.get(kind, elements)
        if width < 0 or (kind in (VALUES, CATEGORIES) and elements > MAX_VALUES) or (kind == BLOCKS and elements < 1):
            raise ProfileError(f"input {name!r} cannot be of kind {KIND_NAMES[kind]} with {elements} elements per row")
        entry = Input(name, kind, elements, 0, width)
        inputs.append(replace(entry, first=first[entry.is_text]))
        first[entry.is_text] += width
    return Layout(tuple(inputs))


def tables(data: Data) -> dict[str, npt.NDArray[Any]]:
    """Arrays by input name, rows first and equally many; one nameless table is the input "".

    An input whose elements per row vary is a sequence (or object array) of one array per row.
    """
    raw = data if isinstance(data, Mapping) else {"": data}
    if not raw:
        raise ProfileError("there is no input to read rows from")
    arrays = {str(name): _table(str(name), value) for name, value in raw.items()}
    counts = {name: len(a) for name, a in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ProfileError(f"every input needs the same number of rows: {counts}")
    if "" in arrays and (arrays[""].ndim != 2 or is_text(arrays[""])):
        raise ProfileError(f"a table without input names holds numbers, two-dimensional, not {arrays[''].shape}")
    return arrays


def is_text(array: npt.NDArray[Any]) -> bool:
    """Whether the array holds BYTES: fixed-width strings, or objects that are strings or arrays of them."""
    if array.dtype.kind in "SU":
        return True
    if array.dtype.kind != "O":
        return False
    filled = (e for e in array.flat if not isinstance(e, np.ndarray) or e.size)
    sample = next(filled, None)
    return isinstance(sample, bytes | str) or (isinstance(sample, np.ndarray) and is_text(sample))


def elements_per_row(array: npt.NDArray[Any]) -> int:
    """Elements of one row; -1 where rows are arrays of their own."""
    ragged = array.dtype.kind == "O" and array.size > 0 and isinstance(array.flat[0], np.ndarray)
    return -1 if ragged else int(np.prod(array.shape[1:], dtype=np.int64))


def _table(name: str, value: Any) -> npt.NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = _ragged(value)
    if array.dtype.kind == "O" and any(isinstance(row, list | tuple) for row in array.flat):
        array = _ragged(value)
    if array.ndim == 0:
        raise ProfileError(f"input {name!r} is one value, not rows of values")
    if array.dtype.kind not in "biufSUO":
        raise ProfileError(f"input {name!r} has numpy datatype {array.dtype}; a model input holds numbers or strings")
    return array


def _ragged(rows: Any) -> npt.NDArray[Any]:
    """One array per row."""
    array = np.empty(len(rows), object)
    for at, row in enumerate(rows):
        array[at] = np.asarray(row)
    return array


def _features(i: Input, array: npt.NDArray[Any]) -> Doubles:
    count = len(array)
    if i.kind == VALUES:
        return _numbers(i, array).reshape(count, i.elements)
    return np.array([_reduce(i, _numbers(i, row).ravel()) for row in array], np.float64).reshape(count, i.width)


def _numbers(i: Input, array: npt.NDArray[Any]) -> Doubles:
    try:
        return np.asarray(array, np.float64)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"input {i.name!r} mixes numbers with other things: {error}") from None


def _reduce(i: Input, values: Doubles) -> list[float]:
    """Mean and deviation of blocks b * n // blocks .. (b + 1) * n // blocks, at least one element each."""
    blocks = FIXED_BLOCKS if i.kind == BLOCKS else VARYING_BLOCKS
    n = len(values)
    out: list[float] = []
    for b in range(blocks):
        begin = b * n // blocks
        part = values[begin : max((b + 1) * n // blocks, begin + 1)]
        out += [float(part.mean()), float(part.std())] if n else [0.0, 0.0]
    return [*out, float(np.log1p(n))] if i.kind == VARYING else out


def _categories(i: Input, array: npt.NDArray[Any]) -> list[list[list[bytes]]]:
    rows = [[_bytes(i, v) for v in np.ravel(row)] for row in array]
    if i.kind == WORDS:
        return [rows]
    return [[[row[c]] for row in rows] for c in range(i.width)]


def _bytes(i: Input, value: Any) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    raise ProfileError(f"input {i.name!r} mixes strings with {type(value).__name__}")


def check_finite(layout: Layout, features: Doubles) -> None:
    """ProfileError where a training value is NaN, infinite or beyond MAX_MAGNITUDE."""
    bad = ~(np.abs(features) <= MAX_MAGNITUDE)
    if bad.any():
        columns = np.flatnonzero(bad.any(axis=0))
        names = ", ".join(layout.column_name(int(c)) for c in columns[:5]) + (", ..." if len(columns) > 5 else "")
        raise ProfileError(
            f"{int(bad.any(axis=1).sum())} of {len(features)} training rows hold NaN, an infinity or a value beyond "
            f"{MAX_MAGNITUDE:g} (first in row {int(np.flatnonzero(bad.any(axis=1))[0])}, columns {names}): "
            "drop these rows, or fill them as the model's clients do"
        )


def mismatch(layout: Layout, signature: Mapping[str, tuple[str, Sequence[int]]]) -> str | None:
    """Why a model's signature, {input: (datatype, shape of one row, -1 for a dynamic dimension)}, is not this
    layout's."""
    nameless = [i.name for i in layout.inputs] == [""]
    if nameless and len(signature) != 1:
        return f"the profile was fitted on a nameless table, the model has {len(signature)} inputs: fit by input name"
    wanted = {next(iter(signature)): layout.inputs[0]} if nameless else {i.name: i for i in layout.inputs}
    for name in [n for n in wanted if n not in signature]:
        return f"the profile was fitted on an input {name!r}, which the model does not have ({_listed(signature)})"
    for name in [n for n in signature if n not in wanted]:
        return f"the model has an input {name!r}, which the profile was not fitted on ({_listed(wanted)})"
    for name, (datatype, shape) in signature.items():
        i = wanted[name]
        if i.is_text != (datatype == "BYTES"):
            return f"input {name!r} is {datatype} in the model, {'BYTES' if i.is_text else 'numeric'} in the profile"
        elements = -1 if any(d < 0 for d in shape) else int(np.prod(shape, dtype=np.int64))
        if elements < 0 <= i.elements:
            return (
                f"rows of input {name!r} may have any length in the model, but have {i.elements} elements in the "
                f"profile: fit with varying={{{name!r}}}"
            )
        if 0 <= elements != i.elements >= 0:
            return f"input {name!r} has {elements} elements per row in the model, but {i.elements} in the profile"
    return None


def _listed(names: Iterable[str]) -> str:
    return "it has " + ", ".join(map(repr, names))
