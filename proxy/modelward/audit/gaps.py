"""Bundles whose records are gone, and the records of the log that tell why: retention, or nothing does."""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct

from modelward.audit.log import Gone, Reader
from modelward.audit.merkle import ProofFails, check_inclusion, inclusion_proof, leaf_hash
from modelward.audit.note import Checkpoint
from modelward.audit.removal import Removal, removal
from modelward.audit.tiles import TILE, nodes


class Removed(Struct, frozen=True):
    """records: how many are gone. by: number of the record that tells it."""

    records: int
    by: int


class Gaps:
    """Filled by a walk through a log: what is gone, and every removal that is told."""

    def __init__(self, log: Reader, checkpoint: Checkpoint) -> None:
        self._log = log
        self._checkpoint = checkpoint
        self._bundles: dict[int, str] = {}  # what is said of each, in order
        self._removals: list[Removal] = []

    def add(self, bundle: int, what: str) -> None:
        self._bundles[bundle] = what

    def read(self, number: int, record: bytes) -> None:
        if (told := removal(number, record)) is not None:
            self._removals.append(told)

    def unexplained(self, stopped: int | None) -> tuple[str, int, int] | None:
        """The first that no removal covers: what, first record, end. stopped: where the walk found something wrong, and
        ended: removals that lie behind are looked for, and only such as are in the tree are believed then."""
        if not self._bundles:
            return None
        if stopped is not None:
            self._removals = [
                each for each in self._removals if is_in_the_tree(self._log, self._checkpoint, each.record)
            ]
            self._look_further(stopped)
        covered = self._covered()
        bundle = next((each for each in self._bundles if each not in covered), None)
        if bundle is None:
            return None
        what = f"{self._bundles[bundle]}, and no record tells that retention removed it"
        return what, bundle * TILE, (bundle + 1) * TILE

    def removed(self) -> tuple[Removed, ...]:
        counts: dict[int, int] = {}
        for by in self._covered().values():
            counts[by] = counts.get(by, 0) + TILE
        return tuple(Removed(count, by) for by, count in sorted(counts.items()))

    def _covered(self) -> dict[int, int]:
        """By bundle: the record that tells of it."""
        covered: dict[int, int] = {}
        bundles = list(self._bundles)
        # the newest first: each names what those before it have removed
        for each in sorted(self._removals, key=lambda told: told.record, reverse=True):
            for first, end in each.ranges:
                at = bisect_left(bundles, -(-first // TILE))
                while at < len(bundles) and (bundles[at] + 1) * TILE <= end:
                    covered.setdefault(bundles[at], each.record)
                    at += 1
        return covered

    def _look_further(self, stopped: int) -> None:
        known = {each.record for each in self._removals}
        size = self._checkpoint.size
        for index in range(stopped // TILE, -(-size // TILE)):
            try:
                records = self._log.bundle(index, min(TILE, size - index * TILE))
            except Gone:
                continue
            for number, record in enumerate(records, index * TILE):
                told = removal(number, record)
                if told is not None and number not in known and is_in_the_tree(self._log, self._checkpoint, number):
                    self._removals.append(told)


def is_in_the_tree(log: Reader, checkpoint: Checkpoint, number: int) -> bool:
    """A record, by the hashes of its tile or by those of the records beside it: one of them may have been changed."""
    size, root = checkpoint.size, checkpoint.root
    index = number // TILE
    try:
        records = log.bundle(index, min(TILE, size - index * TILE))
    except Gone:
        return False
    found = [leaf_hash(each) for each in records]

    def recomputed(level: int, tile: int, width: int) -> bytes:
        return b"".join(found[:width]) if (level, tile) == (0, index) else log.hashes(level, tile, width)

    for hashes in (log.hashes, recomputed):
        try:
            proof = inclusion_proof(number, size, nodes(size, hashes))
            check_inclusion(found[number % TILE], number, size, root, proof)
        except (Gone, ValueError, ProofFails):
            continue
        return True
    return False
