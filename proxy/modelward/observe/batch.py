"""What was observed of one source since the last look: arrays by row, and the requests that they are rows of."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from modelward.observe.source import Source, Tensor
from modelward.rpc.contents import AnswerProblem, Array, decode, decode_contents
from modelward.rpc.protocol import DecodeError, message_class
from modelward.tensors import DATATYPES
from modelward_native.observe.reader import CUT_ANSWER, CUT_INPUTS, REQUEST, ROW, Group

REQUEST_DTYPE = np.dtype(list(REQUEST))
ROW_DTYPE = np.dtype(list(ROW))
_TENSOR = struct.Struct("<IIQ")  # mw_observed_tensor
_ANSWER = message_class("inference.ModelInferResponse")
LAST_BIT = 63  # of `unasked` in mw_observed

MOST_BYTES = 1 << 20
"""Of the requests of one piece, as they came."""
MOST_ROWS = 8192
MOST_ELEMENTS = 2 << 20
"""Rows of one piece times the bytes of its widest row: no array of all rows has more elements. 16 MiB as float64."""
OVERHEAD = 512
"""Bytes of Python objects for one request."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Batch:
    """requests: a structured array by request (modelward_native/observe/record.h tells its fields). rows: likewise by
    row. features: (rows, f) float32 in raw units, NaN where a row has none. categories: (rows, c) hashes, as
    modelward_native.observe.reader.category_hash makes them. ids: of requests, as their clients gave them. clock: ns to
    add to monotonic time for time since 1970.

    A request has at most 256 rows here, one of each stretch of so many; each stands for `weight` of its rows. All
    arrays are read-only.
    """

    source: Source
    requests: npt.NDArray[np.void]
    rows: npt.NDArray[np.void]
    features: Floats
    categories: npt.NDArray[np.uint64]
    ids: tuple[bytes, ...]
    raw_inputs: tuple[bytes, ...]
    raw_answers: tuple[bytes, ...]
    clock: int

    @classmethod
    def of(cls, source: Source, group: Group, clock: int) -> Batch:
        rows = np.frombuffer(bytes(group.rows), ROW_DTYPE)
        return cls(
            source,
            np.frombuffer(bytes(group.requests), REQUEST_DTYPE),
            rows,
            np.frombuffer(bytes(group.features), np.float32).reshape(len(rows), group.width),
            np.frombuffer(bytes(group.categories), np.uint64).reshape(len(rows), group.columns),
            tuple(group.ids),
            tuple(group.inputs),
            tuple(group.answers),
            clock,
        )

    def __len__(self) -> int:
        """Rows."""
        return len(self.rows)

    def only(self, requests: npt.NDArray[np.bool_]) -> Batch:
        """These requests of it. Nothing that was decoded goes along."""
        rows = requests[self.request]
        return Batch(
            self.source,
            self.requests[requests],
            self.rows[rows],
            self.features[rows],
            self.categories[rows],
            tuple(compress(self.ids, requests)),
            tuple(compress(self.raw_inputs, requests)),
            tuple(compress(self.raw_answers, requests)),
            self.clock,
        )

    def pieces(self) -> Iterator[Batch]:
        """All of it, in parts that are so small that decoding one takes bounded memory, whatever clients have sent: a
        row that is much wider than others would make arrays of all rows as wide. A request is never split."""
        begin, held, rows, widest = 0, 0, 0, 0
        for i, (size, count) in enumerate(zip(self.sizes.tolist(), self.requests["rows"].tolist(), strict=True)):
            width = size // max(count, 1)
            held, rows, widest = held + size, rows + count, max(widest, width)
            if i > begin and (held > MOST_BYTES or rows > MOST_ROWS or rows * widest > MOST_ELEMENTS):
                yield self._between(begin, i)
                begin, held, rows, widest = i, size, count, width
        yield self if begin == 0 else self._between(begin, len(self.requests))

    def _between(self, begin: int, end: int) -> Batch:
        place = np.arange(len(self.requests))
        return self.only((place >= begin) & (place < end))

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes that each request takes in memory before it is decoded."""
        kept = (self.ids, self.raw_inputs, self.raw_answers)
        tensors = [sum(map(len, each)) for each in zip(*kept, strict=True)]
        row = ROW_DTYPE.itemsize + 4 * self.features.shape[1] + 8 * self.categories.shape[1]
        fixed = REQUEST_DTYPE.itemsize + OVERHEAD
        rows = self.requests["rows"].astype(np.int64) * row
        total: npt.NDArray[np.int64] = np.array(tensors, np.int64) + rows + fixed
        return total

    # ---- by row

    @cached_property
    def request(self) -> npt.NDArray[np.int64]:
        """Index of each row's request in `requests`."""
        return np.repeat(np.arange(len(self.requests)), self.requests["rows"])

    @property
    def time(self) -> Doubles:
        """Seconds since 1970 when the request ended."""
        return (self.requests["at"][self.request] + self.clock) / 1e9

    @property
    def identity(self) -> npt.NDArray[np.uint64]:
        return self.requests["identity"][self.request]

    @property
    def score(self) -> Doubles:
        """NaN without a profile, as is p_value."""
        return self.rows["score"]

    @property
    def p_value(self) -> Doubles:
        return self.rows["p_value"]

    @property
    def flags(self) -> npt.NDArray[np.uint32]:
        return self.rows["flags"]

    @property
    def cell(self) -> npt.NDArray[np.int32]:
        return self.rows["cell"]

    @property
    def answered_by(self) -> npt.NDArray[np.uint8]:
        """modelward_native.observe.reader.BY_MODEL, BY_FALLBACK or REFUSED."""
        return self.requests["answered_by"][self.request]

    @property
    def inputs_kept(self) -> npt.NDArray[np.bool_]:
        """Whether the inputs are here as they came, where they are kept at all."""
        kept: npt.NDArray[np.bool_] = (self.requests["cut"] & CUT_INPUTS) == 0
        return kept[self.request]

    @property
    def outputs_asked(self) -> npt.NDArray[np.bool_]:
        """(rows, outputs): whether the client asked for it as it is declared, and the whole answer is here."""
        bits = np.minimum(np.arange(len(self.source.outputs)), LAST_BIT).astype(np.uint64)
        asked = (self.requests["unasked"][:, None] >> bits & np.uint64(1)) == 0
        whole = (self.requests["cut"] & CUT_ANSWER) == 0
        told: npt.NDArray[np.bool_] = asked & whole[:, None]
        return told[self.request]

    @property
    def weight(self) -> Doubles:
        """How many rows of its request each stands for."""
        by_request: Doubles = self.requests["total_rows"] / np.maximum(self.requests["rows"], 1)
        return by_request[self.request]

    def chosen(self, share: float) -> npt.NDArray[np.bool_]:
        """The rows of a random share of all requests, which is part of the share that is observed."""
        return self.chosen_requests(share)[self.request]

    def chosen_requests(self, share: float) -> npt.NDArray[np.bool_]:
        """The requests of these rows."""
        of_share: npt.NDArray[np.bool_] = self.requests["chance"] <= min(share, 1.0) * (2**32 - 1)
        return of_share

    @cached_property
    def outputs(self) -> Mapping[str, Array]:
        """By name the elements of each row, (rows, k): float64, NaN where the request has no such answer; objects
        (bytes or None) for BYTES. An output that no request has, or whose elements per row differ, is not in it."""
        return self._filled(self.answers, self.source.outputs)

    @cached_property
    def inputs(self) -> Mapping[str, Array]:
        """The same of the inputs, as far as they were kept."""
        return self._filled(self.asked, self.source.inputs)

    def parts(self, found: Sequence[Mapping[str, Array]], tensor: Tensor) -> list[tuple[int, Array]]:
        """Of one tensor, (first row, its elements by row) of the requests that have it as the signature says: with as
        many rows as the request, and as many elements in each. In its own datatype; requests that follow each other and
        have rows of one width are one part. found: `asked` or `answers`. Where the first dimension is no row, a request
        is one row of all elements."""
        parts: list[tuple[int, list[Array]]] = []
        counts, totals = self.requests["rows"], self.requests["total_rows"].tolist()
        ends, indices, wanted = np.cumsum(counts).tolist(), self.rows["row"], self.width(tensor)
        end_of_last, kind_of_last = -1, None
        for tensors, end, count, total in zip(found, ends, counts.tolist(), totals, strict=True):
            array = tensors.get(tensor.name)
            if array is None or not count:
                continue
            rows = array if self.source.batched else array[None]
            index = indices[end - count : end]
            if not rows.ndim or len(rows) != (total if self.source.batched else 1) or len(rows) <= index.max():
                continue
            width = prod(rows.shape[1:])
            if wanted not in (None, width):
                continue
            if end_of_last != end - count or kind_of_last != (width, rows.dtype):
                parts.append((end - count, []))
            parts[-1][1].append(rows.reshape(len(rows), width)[index])
            end_of_last, kind_of_last = end, (width, rows.dtype)
        return [(begin, together[0] if len(together) == 1 else np.concatenate(together)) for begin, together in parts]

    def width(self, tensor: Tensor) -> int | None:
        """Elements of a row as the signature says; None where it does not fix them."""
        row = tensor.shape[1:] if self.source.batched else tensor.shape
        return None if -1 in row else prod(row)

    def _filled(self, found: Sequence[Mapping[str, Array]], tensors: Sequence[Tensor]) -> dict[str, Array]:
        by_name: dict[str, Array] = {}
        for tensor in tensors:
            parts = self.parts(found, tensor)
            widths = {part.shape[1] for _, part in parts}
            if len(widths) == 1:
                shape = (len(self), widths.pop())
                filled: Array = np.full(shape, None if tensor.datatype == "BYTES" else np.nan)
                for at, part in parts:
                    filled[at : at + len(part)] = part
                by_name[tensor.name] = filled
        return by_name

    # ---- by request

    @cached_property
    def answers(self) -> list[dict[str, Array]]:
        """The outputs of each request's answer by name; without those that are not as the signature says, or cannot be
        read."""
        declared = {tensor.name: tensor.datatype for tensor in self.source.outputs}
        return [_outputs(raw, declared) for raw in self.raw_answers]

    @cached_property
    def asked(self) -> list[dict[str, Array]]:
        """The inputs of each request by name; empty where they were not kept, or cannot be read."""
        return [self._tensors(raw) for raw in self.raw_inputs]

    def _tensors(self, raw: bytes) -> dict[str, Array]:
        """A worker may have ended while it wrote: what does not fit the signature is not believed."""
        found: dict[str, Array] = {}
        at = 0
        try:
            for spec in self.source.inputs if raw else ():
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


def _outputs(raw: bytes, declared: Mapping[str, str]) -> dict[str, Array]:
    """declared: datatypes by name."""
    if not raw:
        return {}
    try:
        answer: Any = _ANSWER.FromString(raw)
    except DecodeError:
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
