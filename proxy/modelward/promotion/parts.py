"""What requests say of a version, by how they got it and by part of the callers: counts of shadow/evidence.pyx.

numpy (20 MB) is imported only to add them up or look inside: a supervisor does so only while a version is promoted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from modelward_native.shadow.evidence import CALLER_PARTS
from modelward_native.shadow.sketch import SCORE_EDGES, SKETCH_ANSWER
from modelward_native.telemetry.histogram import EDGES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]

CELLS = len(SCORE_EDGES) + 1
WAYS = 2


class Parts(Struct, frozen=True):
    """As modelward_native.shadow.evidence.counted gives them; empty bytes are nothing."""

    tallies: bytes = b""
    latency: bytes = b""
    outputs: bytes = b""

    def __add__(self, other: Parts) -> Parts:
        return self._with(other, 1)

    def __sub__(self, other: Parts) -> Parts:
        return self._with(other, -1)

    def _with(self, other: Parts, sign: int) -> Parts:
        import numpy as np  # noqa: PLC0415

        def both(ours: bytes, theirs: bytes) -> bytes:
            if not theirs:
                return ours
            counts = np.frombuffer(theirs, np.int64) * sign
            return (np.frombuffer(ours, np.int64) + counts if ours else counts).tobytes()

        return Parts(
            both(self.tallies, other.tallies), both(self.latency, other.latency), both(self.outputs, other.outputs)
        )

    def ways(self) -> list[Way]:
        """Of each way in which requests get their version: by chance, by key."""
        import numpy as np  # noqa: PLC0415

        def counts(given: bytes, size: int) -> Counts:
            shape = (WAYS, CALLER_PARTS, size)
            return np.frombuffer(given, np.int64).reshape(shape) if given else np.zeros(shape, np.int64)

        tallies = np.moveaxis(counts(self.tallies, 4), 2, 0)
        good, failed, replaced, sampled = tallies
        latency, outputs = counts(self.latency, len(EDGES)), counts(self.outputs, CELLS)
        return [
            Way(good[way], failed[way], replaced[way], sampled[way], latency[way], outputs[way]) for way in range(WAYS)
        ]


NO_PARTS = Parts()


class Way(Struct, frozen=True):
    """Requests that got their version in one way. Arrays by part of the callers: requests that the version answered,
    failed, or the fallback answered, and of the first those in the sample; and of the first how many took how long, by
    cell of modelward_native.telemetry.histogram, and of the sample the scores, by cell."""

    good: Counts
    failed: Counts
    replaced: Counts
    sampled: Counts
    latency: Counts
    outputs: Counts

    @property
    def requests(self) -> Counts:
        return self.good + self.failed + self.replaced

    def __add__(self, other: Way) -> Way:
        return Way(
            self.good + other.good,
            self.failed + other.failed,
            self.replaced + other.replaced,
            self.sampled + other.sampled,
            self.latency + other.latency,
            self.outputs + other.outputs,
        )


def of_one(counts: tuple[int, int, int], latency: Sequence[int], outputs: Sequence[int]) -> list[Way]:
    """Of one caller, whose requests got their version by chance. counts: as the first fields of Way."""
    import numpy as np  # noqa: PLC0415

    def first(given: int | Sequence[int]) -> Counts:
        every = np.zeros((CALLER_PARTS, *np.shape(given)), np.int64)
        every[0] = given
        return every

    cells, scores = first(latency), first(outputs)
    good, failed, replaced = map(first, counts)
    chance = Way(good, failed, replaced, scores.sum(axis=1) // SKETCH_ANSWER, cells, scores)
    nothing = good * 0
    return [chance, Way(nothing, nothing, nothing, nothing, cells * 0, scores * 0)]
