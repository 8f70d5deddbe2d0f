"""Who has how much of what is kept. The room for a model's files is shared: no part of the rows, and no identity, may
push out what others have sent.

A file is removed as a whole. So an identity that sends much gets files of its own, and all others share the rest.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelward.capture.columns import QUARANTINE
from modelward.capture.files import SHARED, CapturedFile

LARGE = 0.25
"""Part of a file's bytes beyond which an identity gets a file of its own: three identities at most."""
SMALLEST = 64 << 10
"""Bytes of a file that is split. Smaller ones take days to fill what the smallest setting allows."""
MOST_QUARANTINE = 0.25
"""Of the room, where clean rows need the rest. They are easy to send, and no export takes them unless it is told to."""
LEAST_SHARED = 0.5
"""Of the files of one part, those that no identity has alone lose nothing until they are so much."""


def by_owner(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """(identity, its rows) of each that has a large part of the table, and (SHARED, the rest). Without empty tables."""
    if table.nbytes < SMALLEST:
        yield SHARED, table
        return
    encoded = table["identity"].combine_chunks().dictionary_encode()
    of = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    held = np.bincount(of, row_bytes(table))
    left = np.ones(len(of), bool)
    for each in np.flatnonzero(held > LARGE * held.sum()).tolist():
        yield encoded.dictionary[each].as_py(), table.filter(pa.array(of == each))
        left &= of != each
    if left.any():
        yield SHARED, table.filter(pa.array(left))


def row_bytes(table: pa.Table) -> npt.NDArray[np.float64]:
    """About what each row takes, also where some have much longer values than others."""
    total = np.full(table.num_rows, 64.0)
    for column in table.columns:
        total += _sizes(column.combine_chunks())
    return total


def _sizes(column: Any) -> npt.NDArray[np.float64]:
    kind = column.type
    if pa.types.is_list(kind):
        ends = np.concatenate([[0.0], np.cumsum(_sizes(column.flatten()))])
        lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        at = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        found: npt.NDArray[np.float64] = ends[at[1:]] - ends[at[:-1]]
        return found
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        lengths = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        sizes: npt.NDArray[np.float64] = lengths.astype(np.float64) + 4
        return sizes
    return np.full(len(column), kind.bit_width / 8)


def surplus(files: Sequence[CapturedFile], size: int) -> list[CapturedFile]:
    """What is to go so that the rest takes at most `size` bytes: of quarantine first, where it has more than its part;
    of the identity that has most, its oldest file first."""
    rooms = {part: _Room() for part in (True, False)}
    for file in sorted(files, key=lambda file: file.modified):
        rooms[file.of.part == QUARANTINE].add(file)
    quarantine, clean = rooms[True], rooms[False]
    removed = []
    while quarantine.bytes + clean.bytes > size:
        full = quarantine.bytes > MOST_QUARANTINE * size or not clean.bytes
        removed.append((quarantine if full else clean).oldest_of_largest())
    return removed


class _Room:
    """Of one part. Files by owner, the oldest first."""

    def __init__(self) -> None:
        self.bytes = 0
        self._files: dict[str, deque[CapturedFile]] = defaultdict(deque)
        self._held: dict[str, int] = defaultdict(int)

    def add(self, file: CapturedFile) -> None:
        self._files[file.owner].append(file)
        self._held[file.owner] += file.bytes
        self.bytes += file.bytes

    def oldest_of_largest(self) -> CapturedFile:
        shared = self._held.get(SHARED, 0)
        owners = [owner for owner in self._held if owner != SHARED]
        of = SHARED if not owners or shared > LEAST_SHARED * self.bytes else max(owners, key=self._held.__getitem__)
        file = self._files[of].popleft()
        self._held[of] -= file.bytes
        self.bytes -= file.bytes
        if not self._files[of]:
            del self._files[of], self._held[of]
        return file
