"""The slow twin of modelward_native/shadow/compare.c: protobuf's own parser, numpy, and the rules in plain Python."""

import struct
from math import inf, isfinite, isnan
from typing import Any

import ml_dtypes
import numpy as np
from google.protobuf.message import DecodeError

from tests.oracle import oip

MOST_OUTPUTS, MOST_ELEMENTS, MOST_WIRE, MOST_SCORES = 32, 4096, 40 * 1024, 16
FLOATS = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16, "FP32": np.float32, "FP64": np.float64}
WHOLE = {"BOOL": "?", "INT8": "b", "INT16": "<h", "INT32": "<i", "INT64": "<q"}
WHOLE |= {"UINT8": "B", "UINT16": "<H", "UINT32": "<I", "UINT64": "<Q"}
COUNTS = ["outputs", "missing", "extra", "datatype", "shape", "unreadable", "labels", "labels_differ"]
COUNTS += ["numbers", "differences", "beyond", "nan_primary", "nan_shadow", "nan_both", "unseen"]
SUMS = ["disagreement", "absolute_sum", "absolute_max", "relative_sum", "relative_max"]


class PrimaryUnreadable(Exception):
    """The primary's own answer does not keep the protocol."""


def parse(message: bytes) -> Any:
    """The ModelInferResponse laid bare, or None where protobuf refuses it or the tables do not hold it. Only for
    messages of at most MOST_WIRE bytes, whose size is no matter."""
    try:
        oip.message_class("ModelInferResponse").FromString(message)
    except DecodeError:
        return None
    answer = oip.message_class("ModelInferResponse", bare=True).FromString(message)
    tables = max(len(answer.outputs), len(answer.raw_output_contents)) <= oip.MOST_TENSORS
    return answer if tables and all(len(o.shape) <= oip.MOST_DIMENSIONS for o in answer.outputs) else None


def strings(raw: bytes, most: int) -> list[bytes] | None:
    found: list[bytes] = []
    at = 0
    while len(found) < most:
        if len(raw) - at < 4:
            return None
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if len(raw) - at < length:
            return None
        found.append(raw[at : at + length])
        at += length
    return found


def raw_of(answer: Any, index: int) -> bytes | None:
    """The raw form of an output; None where its contents cannot fill its shape."""
    output = answer.outputs[index]
    elements = oip.elements(output.shape)
    datatype = output.datatype
    known = datatype in FLOATS or datatype in WHOLE or datatype == "BYTES"
    if not known or elements < 0 or any(p.key.startswith("shared_memory_") for p in output.parameters):
        return None
    given = {field for field in oip.KINDS.values() if len(getattr(output.contents, field))}
    if answer.raw_output_contents:
        if given or len(answer.raw_output_contents) != len(answer.outputs):
            return None
        raw = bytes(answer.raw_output_contents[index])
    elif not given and elements == 0:
        return b""
    else:
        field = oip.TYPED.get(datatype, ("",))[0]
        if given != {field} or len(getattr(output.contents, field)) != elements:
            return None
        converted = oip.contents(output, datatype)
        if converted is None:
            return None
        raw = converted
    if datatype == "BYTES":
        return raw if elements <= len(raw) // 4 else None
    size = np.dtype(FLOATS[datatype]).itemsize if datatype in FLOATS else struct.calcsize(WHOLE[datatype])
    return raw if elements * size == len(raw) else None


def values(raw: bytes, output: Any, most: int) -> list[Any] | None:
    """The first `most` elements; None where strings do not fill the tensor."""
    elements, datatype = oip.elements(output.shape), output.datatype
    if datatype == "BYTES":
        found = strings(raw, min(elements, most))
        if found is None or (elements <= most and sum(4 + len(s) for s in found) < len(raw)):
            return None
        return found
    if datatype in FLOATS:
        return [float(v) for v in np.frombuffer(raw, FLOATS[datatype])[:most]] if raw else []
    found_whole = [v[0] for v in struct.iter_unpack(WHOLE[datatype].replace("?", "B"), raw)][:most]
    return [v != 0 for v in found_whole] if datatype == "BOOL" else found_whole


def label(row: list[float]) -> int:
    return -1 if any(map(isnan, row)) else row.index(max(row))


def numbers(a: float, b: float, tolerance: float, out: dict[str, Any]) -> None:
    out["numbers"] += 1
    if isnan(a) or isnan(b):
        out["nan_both" if isnan(a) and isnan(b) else "nan_primary" if isnan(a) else "nan_shadow"] += 1
        out["beyond"] += isnan(a) != isnan(b)
        return
    if a != b and abs(a - b) == inf:
        out["beyond"] += 1
        return
    out["differences"] += 1
    absolute = abs(a - b) if a != b else 0.0
    relative = absolute / max(abs(a), abs(b)) if absolute else 0.0
    out["beyond"] += relative > tolerance
    for name, difference in (("absolute", absolute), ("relative", relative)):
        out[f"{name}_sum"] += difference
        out[f"{name}_max"] = max(out[f"{name}_max"], difference)


def rows(a: list[float], b: list[float], shape: list[int], scored: bool, out: dict[str, Any]) -> None:
    columns = max(shape[-1], 1) if len(shape) > 1 else 1
    for start in range(0, len(a) - columns + 1, columns):
        row, other_row = a[start : start + columns], b[start : start + columns]
        column = columns - 1
        if columns > 1:
            out["labels"] += 1
            out["labels_differ"] += label(row) != label(other_row)
            column = label(row) if columns > 2 else 1
        if scored and column >= 0 and len(out["scores"]) < MOST_SCORES:
            pair = (row[column], other_row[column])
            if all(map(isfinite, pair)):
                out["scores"].append(pair)


def nothing(status: str) -> dict[str, Any]:
    return {"status": status, **dict.fromkeys(COUNTS, 0), **dict.fromkeys(SUMS, 0.0), "scores": []}


def outputs(mine: Any, other: Any, tolerance: float, out: dict[str, Any]) -> None:
    left, scored = MOST_ELEMENTS, True
    names = [o.name for o in other.outputs]
    for i, output in enumerate(mine.outputs):
        elements = oip.elements(output.shape)
        if i >= MOST_OUTPUTS:
            out["unseen"] += max(elements, 0)
            continue
        raw = raw_of(mine, i)
        if raw is None:
            raise PrimaryUnreadable
        if output.name not in names:
            out["missing"] += 1
            continue
        j = i if i < len(names) and names[i] == output.name else names.index(output.name)
        twin = other.outputs[j]
        out["datatype"] += twin.datatype != output.datatype
        out["shape"] += list(twin.shape) != list(output.shape)
        if twin.datatype != output.datatype or list(twin.shape) != list(output.shape):
            continue
        raw_twin = raw_of(other, j)
        here = values(raw, output, left)
        there = None if raw_twin is None else values(raw_twin, twin, left)
        if raw_twin is not None and here is None:
            raise PrimaryUnreadable
        if here is None or there is None:
            out["unreadable"] += 1
            continue
        if output.datatype in FLOATS:
            for one, other_one in zip(here, there, strict=True):
                numbers(one, other_one, tolerance, out)
            rows(here, there, list(output.shape), scored, out)
            scored = False
        else:
            out["labels"] += len(here)
            out["labels_differ"] += sum(a != b for a, b in zip(here, there, strict=True))
        out["outputs"] += 1
        out["unseen"] += elements - len(here)
        left -= len(here)
    out["extra"] = max(len(names) - (len(mine.outputs) - out["missing"]), 0)


def compare(primary: bytes, shadow: bytes, tolerance: float) -> dict[str, Any]:
    """What modelward_native.shadow.compare.compare returns, for messages of at most MOST_WIRE bytes."""
    mine, other = parse(primary), parse(shadow)
    if mine is None:
        return nothing("primary unreadable")
    if other is None:
        return nothing("shadow unreadable") | {"disagreement": 1.0}
    out = nothing("compared")
    try:
        outputs(mine, other, tolerance, out)
    except PrimaryUnreadable:
        return nothing("primary unreadable")
    if out["missing"] or out["datatype"] or out["shape"] or out["unreadable"]:
        out["disagreement"] = 1.0
    elif out["labels"]:
        out["disagreement"] = out["labels_differ"] / out["labels"]
    elif out["numbers"]:
        out["disagreement"] = out["beyond"] / out["numbers"]
    return out
