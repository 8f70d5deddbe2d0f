"""What was observed of one source since the last look: arrays by row, and the requests that they are rows of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import numpy as np
import numpy.typing as npt

from modelward.observe.source import Source, Tensor
from modelward.observe.tensors import Tensors
from modelward.rpc.contents import Array
from modelward_native.observe.reader import CUT_ANSWER, CUT_INPUTS, REQUEST, ROW, Group

REQUEST_DTYPE = np.dtype(list(REQUEST))
ROW_DTYPE = np.dtype(list(ROW))
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
        if requests.all():
            return replace(self)
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
        if self._is_small:
            yield self
            return
        for i, (size, count) in enumerate(zip(self.sizes.tolist(), self.requests["rows"].tolist(), strict=True)):
            width = size // max(count, 1)
            held, rows, widest = held + size, rows + count, max(widest, width)
            if i > begin and (held > MOST_BYTES or rows > MOST_ROWS or rows * widest > MOST_ELEMENTS):
                yield self._between(begin, i)
                begin, held, rows, widest = i, size, count, width
        yield self if begin == 0 else self._between(begin, len(self.requests))

    @property
    def _is_small(self) -> bool:
        """Whether it is one piece."""
        counts = self.requests["rows"]
        widest, rows = int((self.sizes // np.maximum(counts, 1)).max(initial=0)), len(self)
        return int(self.sizes.sum()) <= MOST_BYTES and rows <= MOST_ROWS and rows * widest <= MOST_ELEMENTS

    def _between(self, begin: int, end: int) -> Batch:
        place = np.arange(len(self.requests))
        return self.only((place >= begin) & (place < end))

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes that each request takes in memory before it is decoded."""
        kept = (self.ids, self.raw_inputs, self.raw_answers)
        tensors = sum(np.fromiter(map(len, each), np.int64, len(each)) for each in kept)
        row = ROW_DTYPE.itemsize + 4 * self.features.shape[1] + 8 * self.categories.shape[1]
        fixed = REQUEST_DTYPE.itemsize + OVERHEAD
        rows = self.requests["rows"].astype(np.int64) * row
        total: npt.NDArray[np.int64] = tensors + rows + fixed
        return total

    # ---- by row

    @cached_property
    def request(self) -> npt.NDArray[np.int64]:
        """Index of each row's request in `requests`."""
        return np.repeat(np.arange(len(self.requests)), self.requests["rows"])

    @cached_property
    def time(self) -> Doubles:
        """Seconds since 1970 when the request ended."""
        return (self.requests["at"][self.request] + self.clock) / 1e9

    @cached_property
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

    @cached_property
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

    def _filled(self, found: Tensors, tensors: Sequence[Tensor]) -> dict[str, Array]:
        by_name: dict[str, Array] = {}
        for tensor in tensors:
            parts = found.parts(tensor)
            if len(parts) == 1:
                rows, elements = parts[0]
                shape = (len(self), elements.shape[1])
                filled: Array = np.full(shape, None if tensor.datatype == "BYTES" else np.nan)
                filled[rows] = elements
                by_name[tensor.name] = filled
        return by_name

    @cached_property
    def asked(self) -> Tensors:
        """The inputs, as far as they were kept."""
        return self._tensors(self.raw_inputs, outputs=False)

    @cached_property
    def answers(self) -> Tensors:
        """The outputs of the answers."""
        return self._tensors(self.raw_answers, outputs=True)

    def _tensors(self, raw: tuple[bytes, ...], *, outputs: bool) -> Tensors:
        counts, totals, index = self.requests["rows"], self.requests["total_rows"], self.rows["row"]
        return Tensors(self.source, outputs=outputs, raw=raw, counts=counts, totals=totals, index=index)
