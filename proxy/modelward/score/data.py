"""Training rows from files, as the mapping that `Profile.fit` takes."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelward.score.errors import ProfileError

Signature = Mapping[str, tuple[str, Sequence[int]]]
Arrays = dict[str, npt.NDArray[Any]]


def load_table(path: str | os.PathLike[str], inputs: Signature) -> Arrays:
    """Rows of `path` for a model with `inputs`, {name: (V2 datatype, shape of one row, -1 for a dynamic dimension)}.

    .npz: one array per input, by its name, rows first. .csv and .parquet: one row per line, the columns in the order
    of the flattened inputs; a csv may begin with a line of column names. Returns {input: (n, *shape)}. ProfileError
    says what does not fit, where, and how to mend it.
    """
    file = Path(path)
    if not inputs:
        raise ProfileError("the model has no inputs to read rows for")
    readers = {".npz": _npz, ".csv": _csv, ".parquet": _parquet}
    if file.suffix.lower() not in readers:
        raise ProfileError(f"{file} ends in {file.suffix or 'nothing'!r}: training data is .npz, .csv or .parquet")
    try:
        return readers[file.suffix.lower()](file, inputs)
    except OSError as error:
        raise ProfileError(f"{file} cannot be read: {error.strerror or error}") from error


def _npz(file: Path, inputs: Signature) -> Arrays:
    try:
        with np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ProfileError(f"{file} holds one nameless array: numpy.savez stores arrays by input name")
            if missing := [name for name in inputs if name not in archive]:
                raise ProfileError(
                    f"{file} has no array {missing[0]!r} (it has {', '.join(map(repr, archive.files)) or 'none'}): "
                    "it needs one array per model input, by the input's name"
                )
            arrays = {name: archive[name] for name in inputs}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, ProfileError):
            raise
        raise ProfileError(f"{file} is not a readable .npz: {error}; save strings as 'S' or 'U'") from error
    for name, (datatype, shape) in inputs.items():
        array = arrays[name]
        if array.ndim == 0 or not _fits(array.shape[1:], shape):
            raise ProfileError(
                f"{file}: {name!r} has shape {array.shape}; rows come first, and the model takes rows of {list(shape)}"
            )
        if (datatype == "BYTES") != (array.dtype.kind in "SU"):
            raise ProfileError(f"{file}: {name!r} has datatype {array.dtype}, the model's input is {datatype}")
    return arrays


def _fits(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Same dimensions, or as many elements in other dimensions: (n, 784) serves an input of (n, 28, 28)."""
    if any(d < 0 for d in wanted):
        return len(found) == len(wanted) and all(w < 0 or f == w for f, w in zip(found, wanted, strict=True))
    return int(np.prod(found, dtype=np.int64)) == int(np.prod(wanted, dtype=np.int64))


def _csv(file: Path, inputs: Signature) -> Arrays:
    widths = _widths(file, inputs)
    total = sum(widths.values())
    texts = [datatype == "BYTES" for name, (datatype, _) in inputs.items() for _ in range(widths[name])]
    columns: list[list[Any]] = [[] for _ in range(total)]
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for line, cells in _rows(csv.reader(lines), texts):
                if len(cells) != total:
                    raise ProfileError(f"{file} line {line} has {len(cells)} columns, inputs take {total}: {widths}")
                for c, cell in enumerate(cells):
                    columns[c].append(cell.encode() if texts[c] else _number(file, line, c, cell))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ProfileError(f"{file} is not a readable csv in UTF-8: {error}") from error
    return _divide(columns, inputs, widths)


def _rows(reader: Any, texts: Sequence[bool]) -> Iterator[tuple[int, list[str]]]:
    """Lines by number, without empty ones and without a first line of column names."""
    for at, cells in enumerate(reader):
        named = at == 0 and any(not t and not _is_number(c) for c, t in zip(cells, texts, strict=False))
        if cells and not named:
            yield reader.line_num, cells


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip() == ""  # a hole in the first row of data, not a name
    return True


def _number(file: Path, line: int, column: int, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ProfileError(f"{file} line {line} column {column + 1} holds {cell[:40]!r}, not a number") from None


def _parquet(file: Path, inputs: Signature) -> Arrays:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - an extra: only who has parquet files needs it
    except ImportError:
        raise ProfileError(
            f"{file}: parquet needs pyarrow, which is not installed: pip install 'modelward[fit]', or give .npz or .csv"
        ) from None
    widths = _widths(file, inputs)
    total = sum(widths.values())
    try:
        table = parquet.read_table(file)
    except ArrowException as error:
        raise ProfileError(f"{file} is not a readable parquet file: {error}") from error
    if table.num_columns != total:
        raise ProfileError(f"{file} has {table.num_columns} columns, the inputs take {total}: {widths}")
    columns = [c.to_numpy() for c in table.columns]
    kinds = [datatype for name, (datatype, _) in inputs.items() for _ in range(widths[name])]
    for name, datatype, column in zip(table.column_names, kinds, columns, strict=True):
        if (datatype == "BYTES") == (column.dtype.kind in "biuf"):
            raise ProfileError(f"{file}: column {name!r} has datatype {column.dtype}, the model's input is {datatype}")
    return _divide(columns, inputs, widths)


def _widths(file: Path, inputs: Signature) -> dict[str, int]:
    """Columns per input."""
    for name, (_, shape) in inputs.items():
        if any(d < 0 for d in shape):
            raise ProfileError(
                f"{file}: rows of input {name!r} have no fixed length ({list(shape)}): only an .npz holds such rows"
            )
    return {name: int(np.prod(shape, dtype=np.int64)) for name, (_, shape) in inputs.items()}


def _divide(columns: Sequence[Any], inputs: Signature, widths: Mapping[str, int]) -> Arrays:
    arrays: Arrays = {}
    at = 0
    for name, (datatype, shape) in inputs.items():
        part = columns[at : at + widths[name]]
        dtype: Any = object if datatype == "BYTES" else np.float64
        stacked = np.array([np.asarray(c, dtype) for c in part], dtype).T
        arrays[name] = stacked.reshape(len(stacked), *shape)
        at += widths[name]
    return arrays
