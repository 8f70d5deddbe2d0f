"""Constants: whether their data is what their dimensions say, and whether data in other files is there and stays so."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import numpy as np

from modelward.bounded_file import open_regular
from modelward.repository.files import SEALED
from modelward.scanning.datatypes import DATATYPES
from modelward.scanning.finding import Findings, quoted
from modelward.scanning.outline import Graph, Model, Tensor, Value, tensors_of
from modelward.scanning.source import Source
from modelward.scanning.values import elements

MOST_ELEMENTS = 1 << 40  # beyond it a size in bytes is no number that programs count with
ANY_SIZE = 1 << 62
COUNTED = 1 << 20  # bytes of packed numbers that are counted
KEYS = frozenset({"location", "offset", "length", "checksum", "basepath"})
DRIVE = re.compile(r"[A-Za-z]:|[a-z][a-z0-9+.-]*://|\\\\")
NUMBERS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data")


def size_of(tensor: Tensor) -> int:
    """Bytes of it in the model."""
    return sum(count for name, count in tensor.stored.items() if name != "string_data")


def check(model: Model, source: Source, folder: Path | None, findings: Findings) -> None:
    """folder: of the model's file, in which external data lies; None where there is none."""
    for body in model.bodies:
        for what, tensor in tensors_of(body):
            _check(tensor, what, source, folder, findings)
    if model.graph is not None:
        _check_declared(model.graph, findings)


def _check_declared(graph: Graph, findings: Findings) -> None:
    values: list[Value] = [*graph.inputs, *graph.outputs]
    for value in values:
        known = [size for size in value.dims if size >= 0]
        if -2 in value.dims or elements(known) > MOST_ELEMENTS:
            what = f"{quoted(value.name)} is declared with the shape {value.dims[:16]}"
            findings.add("shape-declared", what)


def _check(tensor: Tensor, of: str, source: Source, folder: Path | None, findings: Findings) -> None:
    kind = DATATYPES.get(tensor.datatype)
    count = elements(tensor.dims)
    if any(size < 0 for size in tensor.dims) or count > MOST_ELEMENTS:
        findings.add("tensor-dimensions", f"a constant has the dimensions {tensor.dims[:16]}", of)
        return
    if kind is None:
        if tensor.stored or tensor.dims:
            findings.add("tensor-ambiguous", f"a constant has the unknown datatype {tensor.datatype}", of)
        return
    wanted = -(-count * kind.bits // 8)
    if tensor.is_external or tensor.external:
        if tensor.stored:
            findings.add("tensor-ambiguous", "a constant has data in the model and elsewhere", of)
        _check_external(tensor, of, wanted, folder, findings)
        return
    if len(tensor.stored) > 1:
        findings.add("tensor-ambiguous", f"a constant has data in {', '.join(sorted(tensor.stored))}", of)
        return
    found = _stored(tensor, source)
    if found is None:
        return
    name, stored = found
    if name == "raw_data" and kind.bits:
        if stored != wanted:
            what = f"a constant of {count:,} elements has {stored:,} bytes instead of {wanted:,}"
            findings.add("tensor-length", what, of)
    elif name != kind.field:
        findings.add("tensor-ambiguous", f"a constant has data in {name} instead of {kind.field}", of)
    elif stored != _numbers(tensor, kind.bits, count):
        findings.add("tensor-length", f"a constant of {count:,} elements has {stored:,} values", of)


def _numbers(tensor: Tensor, bits: int, count: int) -> int:
    """Values that stand for the elements: two for a complex number, one for all small ones of a byte."""
    if DATATYPES[tensor.datatype].field in ("float_data", "double_data") and bits in (64, 128):
        is_complex = (tensor.datatype, bits) in ((14, 64), (15, 128))
        return 2 * count if is_complex else count
    return -(-count * bits // 8) if 0 < bits < 8 else count


def _stored(tensor: Tensor, source: Source) -> tuple[str, int] | None:
    """Field, and bytes or values in it; None where they are not counted."""
    if not tensor.stored:
        return "raw_data" if DATATYPES[tensor.datatype].bits else "string_data", 0
    ((name, size),) = tensor.stored.items()
    if name in ("raw_data", "string_data"):
        return name, size
    places = tensor.places[name]
    if len(places) > 1 or size == 0:  # not packed
        return None
    if name in ("float_data", "double_data"):
        return name, size // (4 if name == "float_data" else 8)
    if size > COUNTED:
        return None
    data = np.frombuffer(source.read(*places[0]), np.uint8)
    return name, int((data < 0x80).sum())


def _check_external(tensor: Tensor, of: str, wanted: int, folder: Path | None, findings: Findings) -> None:
    entries = dict(tensor.external)
    if len(entries) != len(tensor.external) or not KEYS.issuperset(entries):
        findings.add("external-length", f"external data is described by {sorted(map(quoted, entries))[:8]}", of)
    location = entries.get("location", "")
    if _leaves(location):
        findings.add("external-leaves-folder", f"external data lies at {quoted(location)}", of)
        return
    if folder is None:
        findings.add("external-missing", f"external data lies at {quoted(location)}, and there is no folder", of)
        return
    size = _size(folder, location, of, findings)
    if size is None or _is_sealed(folder / location):
        return
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else size - offset
    except ValueError:
        offset = length = -1
    if not 0 <= offset <= offset + length <= size:
        what = f"{quoted(location)} has {size:,} bytes, and bytes {entries.get('offset', '0')[:20]} to "
        findings.add("external-range", f"{what}{entries.get('length', 'the end')[:20]} further are meant", of)
    elif wanted and length != wanted:
        what = f"a constant of {wanted:,} bytes has {length:,} bytes in {quoted(location)}"
        findings.add("external-length", what, of)


def _leaves(location: str) -> bool:
    parts = location.replace("\\", "/").split("/")
    return not location or "\0" in location or location[0] in "/\\" or ".." in parts or bool(DRIVE.match(location))


def _is_sealed(file: Path) -> bool:
    """Then its size says nothing of what is in it."""
    try:
        with open_regular(file, ANY_SIZE) as opened:
            return opened.read(len(SEALED)) == SEALED
    except OSError:
        return False


def _size(folder: Path, location: str, of: str, findings: Findings) -> int | None:
    """Of a regular file in the folder."""
    file = folder / location
    try:
        real, root = os.path.realpath(file, strict=True), os.path.realpath(folder, strict=True)
        found = os.stat(real)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "the path is none"
        findings.add("external-missing", f"external data at {quoted(location)} cannot be read: {why}", of)
        return None
    if not real.startswith(f"{root.rstrip('/')}/"):
        findings.add("external-link", f"external data at {quoted(location)} lies outside of the folder", of)
        return None
    if not stat.S_ISREG(found.st_mode):
        findings.add("external-link", f"external data at {quoted(location)} is no regular file", of)
        return None
    return found.st_size
