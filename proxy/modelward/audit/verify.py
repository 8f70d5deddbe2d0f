"""Whether a log is what its checkpoint says, found out from its records, its hashes and the public key alone.

Every record is hashed again. Where the log was changed, the first place is named: the hashes of the tiles tell which
record it is, and where they were changed too, the checkpoints between which it lies. Records that retention removed are
stood for by their hashes, and only if a record of this log tells that they were removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from msgspec import Struct

from modelward.audit.files import CHECKPOINT, HISTORY
from modelward.audit.gaps import Gaps, Removed
from modelward.audit.log import Gone, Reader
from modelward.audit.note import Checkpoint, Note, NotSigned, Verifier, stamp
from modelward.audit.removal import MARK
from modelward.audit.tiles import HASH, LEVELS_PER_TILE, TILE, Frontier, path, split, tile_root

Progress = Callable[[int, int], None]
"""Records that were checked, of how many."""


class Finding(Struct, frozen=True):
    """What is wrong. record: the first that it concerns; -1 where it concerns none. end: before which it lies."""

    what: str
    record: int = -1
    end: int = -1


class Verified(Struct, frozen=True):
    """checkpoint: what the log says of itself, None where that cannot be read. records: that were checked, those that
    were removed among them. findings: the first of each kind; none where the log is whole. removed: by retention, as
    records of the log tell. unheld: why it was not held against its earlier checkpoints; empty where it was."""

    checkpoint: Checkpoint | None
    records: int
    findings: tuple[Finding, ...]
    removed: tuple[Removed, ...] = ()
    unheld: str = ""

    @property
    def whole(self) -> bool:
        return not self.findings


class _Known(Struct, frozen=True):
    """A root that the log must have at a size. place: of the checkpoint in the history, which is not verified yet."""

    size: int
    root: bytes
    whose: str
    place: int = -1


def verify(
    log: Reader,
    verifier: Verifier,
    remembered: tuple[Checkpoint, ...] = (),
    progress: Progress = lambda done, size: None,
) -> Verified:
    """remembered: earlier checkpoints of the log that lie elsewhere; believed to be what they are."""
    try:
        checkpoint = checked(log.note(), verifier)
    except OSError as error:
        return Verified(None, 0, (Finding(f"{CHECKPOINT} cannot be read: {error.strerror or error}"),))
    except NotSigned as error:
        return Verified(None, 0, (Finding(f"{CHECKPOINT}: {error}"),))
    findings = [
        Finding(f"a checkpoint of {each.size} records is remembered, and the log has {checkpoint.size}: it was cut off")
        for each in remembered
        if each.size > checkpoint.size
    ]
    known = [_Known(each.size, each.root, "a remembered checkpoint") for each in remembered]
    unheld = ""
    try:
        history = _history(log, verifier, checkpoint.size)
        known += history
        unheld = "" if history or not checkpoint.size else f"{HISTORY} holds none"
    except OSError as error:
        unheld = f"{HISTORY} cannot be read: {error.strerror or error}"
    except NotSigned as error:
        findings.append(Finding(f"{HISTORY}: {error}"))
    known.append(_Known(checkpoint.size, checkpoint.root, "the checkpoint"))
    walk = _Walk(log, verifier, checkpoint, known, progress)
    findings += walk.findings()
    return Verified(checkpoint, walk.done, tuple(findings), walk.gaps.removed(), unheld)


def checked(note: Note, verifier: Verifier) -> Checkpoint:
    """Raises NotSigned."""
    stamp(note, verifier)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != verifier.name:
        raise NotSigned(f"it is of the log {checkpoint.origin}, and its key of {verifier.name}")
    return checkpoint


def _history(log: Reader, verifier: Verifier, size: int) -> list[_Known]:
    """Earlier checkpoints. Their signatures are verified where they contradict each other or the log, and only there:
    what agrees with a checkpoint that is signed needs no signature of its own. Raises NotSigned, OSError."""
    found: dict[int, _Known] = {}
    for place, note in enumerate(log.history()):
        each = Checkpoint.parse(note.text)
        if each.size > size and checked(log.note(), verifier).size >= each.size:
            break  # the server writes on meanwhile
        known = found.setdefault(each.size, _Known(each.size, each.root, "an earlier checkpoint", place))
        if known.root != each.root:
            checked(note, verifier)
            checked(_earlier(log, known.place), verifier)
            raise NotSigned(f"two checkpoints of {each.size} records differ, and both are signed")
        if each.size > size:
            checked(note, verifier)
            raise NotSigned(f"it holds a checkpoint of {each.size} records, and the log has {size}: it was cut off")
    return list(found.values())


def _earlier(log: Reader, place: int) -> Note:
    """Raises OSError, NotSigned."""
    for at, note in enumerate(log.history()):
        if at == place:
            return note
    raise NotSigned("it was changed meanwhile")


class _Walk:
    """Through all records, once."""

    def __init__(
        self, log: Reader, verifier: Verifier, checkpoint: Checkpoint, known: list[_Known], progress: Progress
    ) -> None:
        self.done = 0
        self.gaps = Gaps(log, checkpoint)
        self._log = log
        self._verifier = verifier
        self._size = checkpoint.size
        self._known = sorted(known, key=lambda each: each.size, reverse=True)  # the next is the last
        self._progress = progress
        self._frontier = Frontier()
        self._tiles: list[bytes] = []  # roots of the full tiles of level 0
        self._sound = 0  # the largest size at which a root was right
        self._suspect: Finding | None = None  # since then: removed records whose hashes do not fit the tile above
        self._false: tuple[Finding, ...] = ()  # of the history

    def findings(self) -> Iterator[Finding]:
        """The first record that is wrong, and nothing after it."""
        wrong = next(self._walk(), None)
        if (gap := self.gaps.unexplained(None if wrong is None else self.done)) is not None:
            yield Finding(*gap)
        yield from self._false
        if wrong is not None:
            yield wrong
        elif gap is None:
            yield from self._upper_tiles()

    def _walk(self) -> Iterator[Finding]:
        yield from self._roots(())
        for index in range(-(-self._size // TILE)):
            first = index * TILE
            width = min(TILE, self._size - first)
            wrong = None
            try:
                hashes = self._log.hashes(0, index, width)
            except Gone as gone:
                yield _gone(gone, first, first + width)
                return
            try:
                wrong = _wrong(first, self._log.bundle(index, width), hashes, self.gaps)
            except Gone as gone:
                if width < TILE or not gone.missing:  # the last one is never removed
                    yield _gone(gone, first, first + width)
                    return
                yield from self._gap(index, hashes, gone)
            sound = width if wrong is None else wrong.record - first
            yield from self._leaves(index, hashes[: sound * HASH])
            if wrong is not None:
                yield wrong
            self._progress(self.done, self._size)

    def _gap(self, index: int, hashes: bytes, gone: Gone) -> Iterator[Finding]:
        """Records that are gone: the tile above tells whether their hashes are what they were."""
        tile, at = divmod(index, TILE)
        width = min(TILE, (self._size >> LEVELS_PER_TILE) - tile * TILE)
        try:
            above = self._log.hashes(1, tile, width)[at * HASH : (at + 1) * HASH]
        except Gone as missing:
            yield _gone(missing, index * TILE, (index + 1) * TILE)
            return
        if tile_root(split(hashes)) != above:
            # or the tile above was: the next root tells
            what = f"{gone}, and of their hashes one was changed"
            self._suspect = self._suspect or Finding(what, index * TILE, (index + 1) * TILE)
        self.gaps.add(index, str(gone))

    def _leaves(self, index: int, hashes: bytes) -> Iterator[Finding]:
        """Adds them to the tree, and compares it with what is known of its roots."""
        end = self.done + len(hashes) // HASH
        if len(hashes) == TILE * HASH and not (self._known and self._known[-1].size < end):
            root = tile_root(split(hashes))
        else:
            tile = Frontier()
            for each in split(hashes):
                tile.add(each)
                self.done += 1
                if self._known and self._known[-1].size == self.done and tile.size < TILE:
                    yield from self._roots(tile.roots)
            if tile.size < TILE:
                return
            (root,) = tile.roots
        self.done = end
        self._tiles.append(root)
        self._frontier.add(root, LEVELS_PER_TILE)
        yield from self._roots(())

    def _roots(self, beyond: Sequence[bytes]) -> Iterator[Finding]:
        """Of the checkpoints of the size that is reached. beyond: subtrees after the full tiles."""
        if not self._known or self._known[-1].size != self.done:
            return
        root = self._frontier.root(beyond)
        while self._known and self._known[-1].size == self.done:
            known = self._known.pop()
            if root != known.root and self._is_signed(known):
                whose = f"{known.whose} of {self.done} records"
                what = f"records and hashes were changed together: {whose} has another root"
                yield self._suspect or Finding(what, self._sound, self.done)
        self._sound = self.done
        if self._suspect is not None and self._suspect.end <= self.done:
            self._suspect = None

    def _is_signed(self, known: _Known) -> bool:
        """Of an earlier checkpoint that the log does not agree with. One that is not is another finding."""
        if known.place < 0:
            return True
        try:
            checked(_earlier(self._log, known.place), self._verifier)
        except (NotSigned, OSError) as error:
            self._false = (Finding(f"{HISTORY}: {error}"),)
            return False
        return True

    def _upper_tiles(self) -> Iterator[Finding]:
        """Tiles above the hashes of records, which proofs are made of."""
        lower, level = self._tiles, 1
        while lower:
            higher = []
            for index in range(-(-len(lower) // TILE)):
                part = lower[index * TILE : (index + 1) * TILE]
                try:
                    hashes = split(self._log.hashes(level, index, len(part)))
                except Gone as gone:
                    yield Finding(str(gone))
                    return
                for i, (found, expected) in enumerate(zip(hashes, part, strict=True)):
                    if found != expected:
                        first = (index * TILE + i) << LEVELS_PER_TILE * level
                        yield Finding(f"hash {i} of {path(level, index, len(part))} was changed", first)
                        return
                if len(part) == TILE:
                    higher.append(tile_root(part))
            lower, level = higher, level + 1


def _wrong(first: int, records: list[bytes], hashes: bytes, gaps: Gaps) -> Finding | None:
    """The first of a bundle that has another hash than its tile says, or another number than its place."""
    found = [sha256(b"\0" + record).digest() for record in records]
    same = b"".join(found) == hashes
    for number, record in enumerate(records, first):
        if not same and found[number - first] != hashes[(number - first) * HASH : (number - first + 1) * HASH]:
            return Finding(_changed(record, number), number, number + 1)
        if not record.startswith(b'{"n":%d,' % number):
            return Finding(_numbered(record, number), number, number + 1)
        if MARK in record:
            gaps.read(number, record)
    return None


def _gone(gone: Gone, first: int, end: int) -> Finding:
    return Finding(str(gone), first if gone.record < 0 else gone.record, end)


def _changed(record: bytes, number: int) -> str:
    if record.startswith(b'{"n":%d,' % number):
        return f"record {number} was changed"
    return _numbered(record, number)


def _numbered(record: bytes, number: int) -> str:
    found = record[5:25].split(b",")[0] if record.startswith(b'{"n":') else b""
    if found.isdigit():
        return f"record {number} was replaced, moved, added or removed: here lies one with the number {int(found)}"
    return f"record {number} was replaced: what lies here is no record"
