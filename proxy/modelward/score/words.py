"""Categories: which values the columns of BYTES inputs hold in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from msgspec import Struct

# Good and Turing (1953): the chance that the next row brings a value never seen is about the share of rows whose value
# was seen once. Above this the column holds names or free text, not categories, and new values are ordinary there.
MAX_UNSEEN = 0.01
MAX_WORDS = 1 << 16  # of one column; with more it is not a category either
MAX_TEXT = 1 << 24  # bytes of all words of one column


class Words(Struct, frozen=True):
    """Known values of c columns, packed for the kernel.

    text (bytes,) uint8 holds all words; word w is text[starts[w]:starts[w + 1]] (starts: (w + 1,) uint64); column c has
    words columns[c] up to columns[c + 1] ((c + 1,) int64) and, where is_open[c] (uint8), no unknown values.
    """

    text: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.uint64]
    columns: npt.NDArray[np.int64]
    is_open: npt.NDArray[np.uint8]

    def column(self, c: int) -> list[bytes]:
        text = self.text.tobytes()
        edges = self.starts[int(self.columns[c]) : int(self.columns[c + 1]) + 1].tolist()
        return [text[a:b] for a, b in pairwise(edges)]


def learn(columns: Iterable[Iterable[bytes]]) -> Words:
    """Words of columns, each given as its training values in any order."""
    known: list[Sequence[bytes]] = []
    is_open: list[bool] = []
    for values in columns:
        seen = Counter(values)
        once = sum(1 for n in seen.values() if n == 1)
        text = sum(map(len, seen))
        is_open.append(once > MAX_UNSEEN * seen.total() or len(seen) > MAX_WORDS or text > MAX_TEXT)
        known.append([] if is_open[-1] else sorted(seen))
    words = [w for column in known for w in column]
    return Words(
        text=np.frombuffer(b"".join(words), np.uint8),
        starts=np.cumsum([0, *map(len, words)]).astype(np.uint64),
        columns=np.cumsum([0, *map(len, known)]).astype(np.int64),
        is_open=np.array(is_open, np.uint8),
    )
