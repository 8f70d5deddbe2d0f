"""A worker's disagreeing pairs, taken from the data plane once a second and written to disk in a thread.

What cannot be written is lost and said in the log; no request ever waits for it or fails of it. While a round is being
written nothing more is taken: the data plane then drops what it has no room for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from modelward.shadow.samples import MOST_BYTES, MOST_FILES, Sample, Samples, writers_folder

log = logging.getLogger("modelward.shadow")

ROUND_SECONDS = 1.0
QUIET_ROUNDS = 60  # between two lines in the log

# model, shadow, disagreement, encoded request, encoded answer of the primary and of the shadow
Taken = tuple[str, str, float, bytes, bytes, bytes]


class SampleWriter:
    """take: gives what was sampled since it was last called, of a bounded size. root: folder of all samples.

    worker: whose folders these are; writers: how many there may be, who share the bounds of a shadow's samples.
    lost: how many could not be written.
    """

    def __init__(self, take: Callable[[], Sequence[Taken]], root: Path, worker: int, writers: int) -> None:
        self._take = take
        self._root = root
        self._worker = worker
        self._bounds = max(1, MOST_FILES // writers), MOST_BYTES // writers
        self._samples: dict[tuple[str, str], Samples] = {}  # of shadows that had any, so as many as were configured
        self.lost = 0
        self._lost = self._quiet = 0  # since the last line; rounds without one that are left

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        """One round."""
        taken = self._take()
        lost, why = await asyncio.to_thread(self._write, taken) if taken else (0, "")
        self.lost += lost
        self._lost += lost
        self._quiet = max(self._quiet - 1, 0)
        if lost and not self._quiet:
            log.error("%d samples of disagreeing answers could not be kept in %s: %s", self._lost, self._root, why)
            self._lost, self._quiet = 0, QUIET_ROUNDS

    def _write(self, taken: Sequence[Taken]) -> tuple[int, str]:
        """How many are lost, and why the last one is."""
        lost, why = 0, ""
        for model, shadow, disagreement, *parts in taken:
            key = model, shadow
            try:
                if key not in self._samples:
                    folder = writers_folder(self._root, model, shadow, self._worker)
                    self._samples[key] = Samples(folder, *self._bounds)
                if self._samples[key].add(Sample(model, shadow, time.time_ns(), disagreement, *parts)):
                    continue
                why = f"one is larger than the {self._bounds[1]} bytes that there are for all"
            except OSError as error:
                self._samples.pop(key, None)  # the next one looks at the folder again, and makes it where it has gone
                why = error.strerror or str(error)
            lost += 1
        return lost, why
