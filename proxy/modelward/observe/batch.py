"""What was observed of one source since the last look: arrays by row, and the requests that they are rows of."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from modelward.observe.source import Source, Tensor
from modelward.rpc.contents import AnswerProblem, Array, decode, decode_all
from modelward.rpc.protocol import DecodeError, message_class
from modelward.tensors import DATATYPES
from modelward_native.observe.reader import REQUEST, ROW, Group

REQUEST_DTYPE = np.dtype(list(REQUEST))
ROW_DTYPE = np.dtype(list(ROW))
_TENSOR = struct.Struct("<IIQ")  # mw_observed_tensor
_ANSWER = message_class("inference.ModelInferResponse")

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Batch:
    """requests: a structured array by request (modelward_native/observe/record.h tells its fields). rows: likewise by
    row. features: (rows, f) float32 in raw units, NaN where a row has none. categories: (rows, c) hashes, as
    modelward_native.observe.reader.category_hash makes them. ids: of requests, as their clients gave them. clock: ns to
    add to monotonic time for time since 1970.

    A request has at most 256 rows here, evenly spaced; each stands for `weight` of its rows. All arrays are read-only.
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
    def weight(self) -> Doubles:
        """How many rows of its request each stands for."""
        by_request: Doubles = self.requests["total_rows"] / np.maximum(self.requests["rows"], 1)
        return by_request[self.request]

    def chosen(self, share: float) -> npt.NDArray[np.bool_]:
        """The rows of a random share of all requests, which is part of the share that is observed."""
        return (self.requests["chance"] <= min(share, 1.0) * (2**32 - 1))[self.request]

    @cached_property
    def outputs(self) -> Mapping[str, Array]:
        """By name the elements of each row, (rows, k): float64, NaN where the request has no such answer; objects
        (bytes or None) for BYTES. An output whose elements per row differ is not in it."""
        return self._filled(self.answers, self.source.outputs)

    @cached_property
    def inputs(self) -> Mapping[str, Array]:
        """The same of the inputs, as far as they were kept."""
        return self._filled(self.asked, self.source.inputs)

    def parts(self, found: Sequence[Mapping[str, Array]], name: str) -> list[tuple[int, Array]]:
        """Of one tensor, (first row, its elements by row) of each request that has it; in their own datatype. found:
        `asked` or `answers`. Where the first dimension is no row, a request is one row of all elements."""
        parts: list[tuple[int, Array]] = []
        ends = np.cumsum(self.requests["rows"]).tolist()
        for tensors, end, count in zip(found, ends, self.requests["rows"].tolist(), strict=True):
            array = tensors.get(name)
            if array is None or not count:
                continue
            rows = array if self.source.batched else array[None]
            index = self.rows["row"][end - count : end]
            if rows.ndim and len(rows) > int(index[-1]):
                parts.append((end - count, rows.reshape(len(rows), -1)[index]))
        return parts

    def _filled(self, found: Sequence[Mapping[str, Array]], tensors: Sequence[Tensor]) -> dict[str, Array]:
        by_name: dict[str, Array] = {}
        for tensor in tensors:
            parts = self.parts(found, tensor.name)
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
        """The outputs of each request's answer by name; empty where there is none, or it cannot be read."""
        return [_outputs(raw) for raw in self.raw_answers]

    @cached_property
    def asked(self) -> list[dict[str, Array]]:
        """The inputs of each request by name; empty where they were not kept."""
        return [self._tensors(raw) for raw in self.raw_inputs]

    def _tensors(self, raw: bytes) -> dict[str, Array]:
        """Raises ValueError, struct.error where a worker has written something else."""
        found: dict[str, Array] = {}
        at = 0
        for spec in self.source.inputs if raw else ():
            dtype, rank, size = _TENSOR.unpack_from(raw, at)
            at += _TENSOR.size
            shape = struct.unpack_from(f"<{rank}q", raw, at)
            at += 8 * rank
            if size and dtype:
                found[spec.name] = decode(raw[at : at + size], DATATYPES[dtype - 1], [*shape])
            at += -(-size // 8) * 8
        return found


def _outputs(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        answer: Any = _ANSWER.FromString(raw)
        arrays = decode_all(answer.outputs, answer.raw_output_contents)
    except (DecodeError, AnswerProblem):
        return {}
    return {tensor.name: array for tensor, array in zip(answer.outputs, arrays, strict=True)}
