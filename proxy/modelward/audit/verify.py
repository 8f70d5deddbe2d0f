"""Whether a log is what its checkpoint says, found out from its files and the public key alone.

Every record is hashed again. Where the log was changed, the first place is named: the hashes of the tiles tell which
record it is, and where they were changed too, the checkpoints between which it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from modelward.audit.files import CHECKPOINT, HISTORY, Gone, LogReader
from modelward.audit.merkle import EMPTY, leaf_hash
from modelward.audit.note import Checkpoint, Note, NotSigned, Verifier
from modelward.audit.tiles import HASH, LEVELS_PER_TILE, TILE, Edge, path, tile_root

Progress = Callable[[int, int], None]
"""Records that were checked, of how many."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong. record: the first that it concerns; -1 where it concerns none. end: before which it lies."""

    what: str
    record: int = -1
    end: int = -1


@dataclass(frozen=True, slots=True)
class Verified:
    """checkpoint: what the log says of itself, None where that cannot be read. records: that were hashed.
    findings: the first of each kind; none where the log is whole."""

    checkpoint: Checkpoint | None
    records: int
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        return not self.findings


def verify(
    log: LogReader,
    verifier: Verifier,
    remembered: tuple[Checkpoint, ...] = (),
    progress: Progress = lambda done, size: None,
) -> Verified:
    """remembered: earlier checkpoints of the log that lie elsewhere; believed to be what they are."""
    try:
        checkpoint = checked(log.note(), verifier)
    except OSError as error:
        return Verified(None, 0, (Finding(f"{CHECKPOINT} cannot be read: {error.strerror}"),))
    except NotSigned as error:
        return Verified(None, 0, (Finding(f"{CHECKPOINT}: {error}"),))
    findings = [
        Finding(f"a checkpoint of {each.size} records is remembered, and the log has {checkpoint.size}: it was cut off")
        for each in remembered
        if each.size > checkpoint.size
    ]
    try:
        history = _history(log, verifier, checkpoint.size)
    except NotSigned as error:
        history = {}
        findings.append(Finding(f"{HISTORY}: {error}"))
    known = [(each.size, each.root, "a remembered checkpoint") for each in remembered if each.size <= checkpoint.size]
    known += [(size, root, "an earlier checkpoint") for size, root in history.items()]
    known.append((checkpoint.size, checkpoint.root, "the checkpoint"))
    walk = _Walk(log, checkpoint.size, sorted(known, key=lambda each: each[0]), progress)
    findings += walk.findings()
    return Verified(checkpoint, walk.done, tuple(findings))


def checked(note: Note, verifier: Verifier) -> Checkpoint:
    """Raises NotSigned."""
    note.verify(verifier)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != verifier.name:
        raise NotSigned(f"it is of the log {checkpoint.origin}, and its key of {verifier.name}")
    return checkpoint


def _history(log: LogReader, verifier: Verifier, size: int) -> dict[int, bytes]:
    """Roots of earlier checkpoints by their sizes."""
    found: dict[int, bytes] = {}
    try:
        for note in log.history():
            checkpoint = checked(note, verifier)
            if found.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
                raise NotSigned(f"two checkpoints of {checkpoint.size} records differ, and both are signed")
            if checkpoint.size > size:
                raise NotSigned(
                    f"it holds a checkpoint of {checkpoint.size} records, and the log has {size}: it was cut off"
                )
    except OSError:
        return found  # it is a help, and nothing depends on it
    return found


class _Walk:
    """Through all records, once."""

    def __init__(self, log: LogReader, size: int, known: list[tuple[int, bytes, str]], progress: Progress) -> None:
        self.done = 0
        self._log = log
        self._size = size
        self._known = known
        self._progress = progress
        self._edge = Edge()
        self._sound = 0  # the largest size at which a root was right

    def findings(self) -> Iterator[Finding]:
        """The first record that is wrong, and nothing after it."""
        yield from self._roots()
        for index in range(-(-self._size // TILE)):
            width = min(TILE, self._size - index * TILE)
            try:
                records = self._log.bundle(index, width)
                hashes = self._log.hashes(0, index, width)
            except Gone as gone:
                yield Finding(str(gone), index * TILE, index * TILE + width)
                return
            if (wrong := self._bundle(index * TILE, records, hashes)) is not None:
                yield wrong
                return
            self._progress(self.done, self._size)
        yield from self._upper_tiles()

    def _bundle(self, first: int, records: list[bytes], hashes: bytes) -> Finding | None:
        for i, record in enumerate(records):
            number = first + i
            found = leaf_hash(record)
            if found != hashes[i * HASH : (i + 1) * HASH]:
                return Finding(_changed(record, number), number, number + 1)
            if not record.startswith(b'{"n":%d,' % number):
                return Finding(_numbered(record, number), number, number + 1)
            self._edge.append(found)
            self.done = number + 1
            if self._known and self._known[0][0] == self.done:
                for wrong in self._roots():
                    return wrong
        return None

    def _roots(self) -> Iterator[Finding]:
        """Of the checkpoints of the size that is reached."""
        root = self._edge.root() if self.done else EMPTY
        while self._known and self._known[0][0] == self.done:
            _, expected, whose = self._known.pop(0)
            if root != expected:
                what = f"records and hashes were changed together: {whose} of {self.done} records has another root"
                yield Finding(what, self._sound, self.done)
                return
        self._sound = self.done

    def _upper_tiles(self) -> Iterator[Finding]:
        """Tiles above the hashes of records, which proofs are made of."""
        level, count = 0, self._size
        while count >= TILE:
            count //= TILE
            level += 1
            for index in range(-(-count // TILE)):
                width = min(TILE, count - index * TILE)
                try:
                    hashes = self._log.hashes(level, index, width)
                    lower = [self._log.hashes(level - 1, index * TILE + i, TILE) for i in range(width)]
                except Gone as gone:
                    yield Finding(str(gone))
                    return
                for i, data in enumerate(lower):
                    if hashes[i * HASH : (i + 1) * HASH] != _root_of(data):
                        first = (index * TILE + i) << LEVELS_PER_TILE * level
                        yield Finding(f"hash {i} of {path(level, index, width)} was changed", first)
                        return


def _root_of(data: bytes) -> bytes:
    return tile_root([data[i : i + HASH] for i in range(0, len(data), HASH)])


def _changed(record: bytes, number: int) -> str:
    if record.startswith(b'{"n":%d,' % number):
        return f"record {number} was changed"
    return _numbered(record, number)


def _numbered(record: bytes, number: int) -> str:
    found = record[5:25].split(b",")[0] if record.startswith(b'{"n":') else b""
    if found.isdigit():
        return f"record {number} was replaced, moved, added or removed: here lies one with the number {int(found)}"
    return f"record {number} was replaced: what lies here is no record"
