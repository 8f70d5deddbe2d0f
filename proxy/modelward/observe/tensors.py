"""The inputs, or the outputs, of all requests of a batch: rows of many requests are decoded at once, tensor by tensor.

Most tensors lie where one walk over their message finds them (`modelward_native.observe.places`). A message with typed
contents, or one that is not as it should be, is decoded by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from modelward.observe.source import Source, Tensor
from modelward.rpc.contents import AnswerProblem, Array, decode, decode_contents
from modelward.rpc.protocol import Malformed, message_class, parse
from modelward.tensors import DATATYPES
from modelward_native.observe.places import OTHERWISE, PLACE, Places

PLACE_DTYPE = np.dtype(list(PLACE))
_TENSOR = struct.Struct("<IIQ")  # mw_observed_tensor
_ANSWER = "inference.ModelInferResponse"

Rows = npt.NDArray[np.intp]
Read = Callable[[Sequence[Tensor], bytes], dict[str, Array]]


class Tensors:
    """raw: of each request, empty where it was not kept. counts, totals: rows of each request that are here, and that
    it has. index (rows,): of each row that is here in its request."""

    def __init__(
        self, source: Source, *, outputs: bool, raw: tuple[bytes, ...], counts: Rows, totals: Rows, index: Rows
    ) -> None:
        self._batched = source.batched
        self._specs = source.outputs if outputs else source.inputs
        self._raw = raw
        self._read: Read = _outputs if outputs else _inputs
        self._totals = np.ascontiguousarray(totals if source.batched else np.ones(len(raw)), np.int64)
        self._counts, self._index = counts.astype(np.int64), index.astype(np.int64)
        self._ends = np.cumsum(self._counts)
        self._request = np.repeat(np.arange(len(raw)), counts)
        found = _places(self._specs, outputs, source.batched).find(raw, self._totals)
        self._places = np.frombuffer(found, PLACE_DTYPE).reshape(len(raw), len(self._specs))
        self._decoded: dict[int, dict[str, Array]] = {}
        self._parts: dict[str, list[tuple[Rows, Array]]] = {}

    def parts(self, tensor: Tensor) -> list[tuple[Rows, Array]]:
        """Of one tensor, (rows, their elements): of the requests that have it as the signature says, with as many rows
        as the request, and as many elements in each. In its own datatype; rows rise, and those of one width are one
        part. Where the first dimension is no row, a request is one row of all elements."""
        if tensor.name not in self._parts:
            self._parts[tensor.name] = self._found(tensor)
        return self._parts[tensor.name]

    def _found(self, tensor: Tensor) -> list[tuple[Rows, Array]]:
        places = self._places[:, self._specs.index(tensor)]
        wanted = self.width(tensor)
        usable = np.ones(len(places), np.bool_)
        usable[self._request[self._index >= self._totals[self._request]]] = False
        found = usable & (places["begin"] >= 0)
        rows = np.flatnonzero(found[self._request])
        widths = places["width"][self._request[rows]]
        made: dict[int, list[tuple[Rows, Array]]] = {}
        for width in np.unique(widths).tolist():
            if wanted in (None, width):
                of_width = rows[widths == width]
                made[width] = [(of_width, self._taken(tensor, places, of_width, width))]
        for i in np.flatnonzero(usable & (places["begin"] == OTHERWISE) & (self._counts > 0)).tolist():
            elements = self._decoded_rows(i, tensor.name)
            if elements is not None and wanted in (None, elements.shape[1]):
                each = np.arange(self._ends[i] - self._counts[i], self._ends[i])
                made.setdefault(elements.shape[1], []).append((each, elements))
        return [_joined(each) for each in made.values()]

    def width(self, tensor: Tensor) -> int | None:
        """Elements of a row as the signature says; None where it does not fix them."""
        row = tensor.shape[1:] if self._batched else tensor.shape
        return None if -1 in row else prod(row)

    @cached_property
    def _bytes(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(b"".join(self._raw), np.uint8)

    def _taken(self, tensor: Tensor, places: npt.NDArray[np.void], rows: Rows, width: int) -> Array:
        """(rows, width) of requests whose places are known."""
        request, index = self._request[rows], self._index[rows]
        if tensor.datatype == "BYTES":
            requests = np.unique(request)
            ends = np.cumsum(self._totals[requests])
            texts = [self._bytes[each["begin"] : each["begin"] + each["size"]] for each in places[requests]]
            all_rows = decode(np.concatenate(texts).tobytes(), "BYTES", [int(ends[-1]), width])
            chosen: Array = all_rows[(ends - self._totals[requests])[np.searchsorted(requests, request)] + index]
            return chosen
        size = places["size"][request[0]] // self._totals[request[0]]  # of a row
        # so many bytes from each place on: what is taken of these is copied row by row
        every: Array = np.ndarray(len(self._bytes) - size + 1, f"V{size}", self._bytes, strides=1)
        return decode(every[places["begin"][request] + index * size], tensor.datatype, [len(rows), width])

    def _decoded_rows(self, i: int, name: str) -> Array | None:
        """The rows of request i that are here: (rows, elements)."""
        if i not in self._decoded:
            self._decoded[i] = self._read(self._specs, self._raw[i])
        array = self._decoded[i].get(name)
        if array is None:
            return None
        rows = array if self._batched else array[None]
        if not rows.ndim or len(rows) != self._totals[i]:
            return None
        index = self._index[self._ends[i] - self._counts[i] : self._ends[i]]
        return rows.reshape(len(rows), prod(rows.shape[1:]))[index]


def _joined(parts: list[tuple[Rows, Array]]) -> tuple[Rows, Array]:
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([rows for rows, _ in parts])
    order = np.argsort(rows)
    return rows[order], np.concatenate([elements for _, elements in parts])[order]


@lru_cache(256)
def _places(specs: tuple[Tensor, ...], outputs: bool, batched: bool) -> Places:
    return Places([(spec.name, spec.datatype) for spec in specs], outputs=outputs, batched=batched)


def _inputs(specs: Sequence[Tensor], raw: bytes) -> dict[str, Array]:
    """A worker may have ended while it wrote: what does not fit the signature is not believed."""
    found: dict[str, Array] = {}
    at = 0
    try:
        for spec in specs if raw else ():
            dtype, rank, size = _TENSOR.unpack_from(raw, at)
            at += _TENSOR.size
            shape = struct.unpack_from(f"<{rank}q", raw, at)
            at += 8 * rank
            if size and dtype:
                if dtype > len(DATATYPES) or DATATYPES[dtype - 1] != spec.datatype:
                    return {}
                found[spec.name] = decode(raw[at : at + size], spec.datatype, [*shape])
            at += -(-size // 8) * 8
    except (struct.error, AnswerProblem):
        return {}
    return found


def _outputs(specs: Sequence[Tensor], raw: bytes) -> dict[str, Array]:
    """Without those that are not as the signature says, or cannot be read."""
    if not raw:
        return {}
    declared: Mapping[str, str] = {spec.name: spec.datatype for spec in specs}
    try:
        answer: Any = parse(message_class(_ANSWER), raw)
    except Malformed:
        return {}
    names = [tensor.name for tensor in answer.outputs]
    raws = answer.raw_output_contents
    if raws and len(raws) != len(names):
        return {}
    found: dict[str, Array] = {}
    for i, tensor in enumerate(answer.outputs):
        datatype, shape = tensor.datatype, [*tensor.shape]
        if declared.get(tensor.name) != datatype or names.count(tensor.name) > 1:
            continue
        try:
            made = decode(raws[i], datatype, shape) if raws else decode_contents(tensor.contents, datatype, shape)
        except AnswerProblem:
            continue
        found[tensor.name] = made
    return found
