"""A log in local files: written by one process, read by any.

The checkpoint is written last, after all that it vouches for is on disk: what lies beyond it was never confirmed, and
is written over.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Self

from modelward.atomic_file import replacing
from modelward.audit import key
from modelward.audit.last import TAKEN_BACK, Last
from modelward.audit.log import Gone, Mishap
from modelward.audit.merkle import EMPTY, ProofFails, check_consistency, consistency_proof, leaf_hash
from modelward.audit.note import LARGEST_NOTE, Checkpoint, Note, NotSigned, OtherKey, Signer, stamped
from modelward.audit.record import Record
from modelward.audit.tiles import (
    ENTRIES,
    HASH,
    LARGEST_RECORD,
    LEVELS_PER_TILE,
    TILE,
    Edge,
    nodes,
    pack,
    path,
    split,
    unpack,
    widths,
)
from modelward.bounded_file import open_regular, read_regular
from modelward.problem import Problem, ProblemsFound

CHECKPOINT = "checkpoint"
HISTORY = "checkpoints"
"""Lines of {"note": checkpoint}, the oldest first: where a record that was changed lies between two of them."""
LOCK = "lock"
LARGEST_HISTORY = 1 << 50  # it is read line by line
LARGEST_BUNDLE = TILE * (LARGEST_RECORD + 2)
LOOKS = 3  # for a file, before it counts as gone
# what fails without harm, as a Mishap calls it
KEEPS_HISTORY, TIDIES = "history", "tidying"
FOLDER_MODE, FILE_MODE = 0o700, 0o600


class LogReader:
    """What a folder holds. It is believed nothing: see modelward.audit.verify."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self) -> Note:
        """The newest checkpoint, with its signatures. Raises OSError, NotSigned."""
        return Note.parse(read_regular(self.folder / CHECKPOINT, LARGEST_NOTE))

    def history(self) -> Iterator[Note]:
        """Earlier checkpoints, the oldest first. Raises OSError, NotSigned."""
        with open_regular(self.folder / HISTORY, LARGEST_HISTORY) as lines:
            while line := lines.readline(2 * LARGEST_NOTE):
                if len(line) < 2 * LARGEST_NOTE and not line.endswith(b"\n"):
                    return  # a write that was cut off
                try:
                    yield Note.parse(json.loads(line)["note"].encode())
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    raise NotSigned(f"{self.folder / HISTORY}: a line of it is no checkpoint") from None

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile. Raises Gone."""
        return self._read(level, index, width, TILE * HASH)[: width * HASH]

    def bundle(self, index: int, width: int) -> list[bytes]:
        """The first `width` records of a bundle. Raises Gone."""
        try:
            records = list(unpack(self._read(ENTRIES, index, width, LARGEST_BUNDLE)))
        except ValueError as error:
            raise Gone(f"{path(ENTRIES, index, width)}: {error}") from None
        if len(records) < width:
            raise Gone(f"{path(ENTRIES, index, width)} holds {len(records)} records")
        return records[:width]

    def records(self, first: int, end: int) -> Iterator[bytes]:
        """From `first` to before `end`. Raises Gone."""
        for index in range(first // TILE, -(-end // TILE)):
            start = index * TILE
            bundle = self.bundle(index, min(TILE, end - start))
            yield from bundle[max(0, first - start) :]

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _read(self, level: int | str, index: int, width: int, most: int) -> bytes:
        """Of this width; or where it has grown since, of a greater one."""
        for _ in range(LOOKS - 1):  # the writer puts others in their place meanwhile
            try:
                return self._look(level, index, width, most)
            except Gone as gone:
                if not gone.missing:
                    raise
        return self._look(level, index, width, most)

    def _look(self, level: int | str, index: int, width: int, most: int) -> bytes:
        names = [path(level, index, width), path(level, index)]
        if width < TILE:
            partial = (self.folder / names[0]).parent
            try:
                grown = sorted(int(name) for name in os.listdir(partial) if name.isdecimal() and int(name) > width)
            except OSError:
                grown = []
            names += [path(level, index, each) for each in grown]
        for name in names:
            try:
                return read_regular(self.folder / name, most)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                raise Gone(f"{name} cannot be read: {error}") from None
        raise Gone(f"{names[0]} is gone", missing=True)


class LogWriter:
    """The only writer of a folder (modelward.audit.log.Log). Use `open`. checkpoint: what has been confirmed."""

    def __init__(self, folder: Path, signer: Signer, lock: int, mishap: Mishap, last: Last | None) -> None:
        self.checkpoint = Checkpoint(signer.name, 0, EMPTY)
        self._reader = LogReader(folder)
        self._folder = folder
        self._signer = signer
        self._lock = lock
        self._mishap = mishap
        self._last = last
        self._edge = Edge()
        self._bundle: list[bytes] = []
        self._unsure = False
        self._attempt: tuple[Sequence[Record], Checkpoint] = (), self.checkpoint  # the last, with what it was to make

    @classmethod
    def open(
        cls,
        folder: Path,
        signer: Signer,
        mishap: Mishap = lambda what, error: None,
        last: Last | None = None,
    ) -> Self:
        """Begins a log, or goes on with it. last: what was confirmed, kept elsewhere; the log must hold it. Raises
        ProblemsFound, OSError."""
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                how = "Give each server a state folder of its own"
                raise ProblemsFound([Problem("another server writes this log", str(folder), how=how)]) from None
            log = cls(folder, signer, lock, mishap, last)
            log._load()
            log._holds_last()
        except BaseException:
            os.close(lock)
            raise
        return log

    def close(self) -> None:
        os.close(self._lock)

    def reader(self) -> LogReader:
        return self._reader

    def append(self, records: Sequence[Record]) -> int:
        if self._unsure:
            self._load()
            if records and (list(records), self.checkpoint) == (list(self._attempt[0]), self._attempt[1]):
                self.add([])  # they were written, and only making that last has failed
                return self.checkpoint.size - len(records)
        first = self.checkpoint.size
        self._attempt = records, self.checkpoint
        self.add([record.encoded(number) for number, record in enumerate(records, first)])
        return first

    def add(self, records: Sequence[bytes]) -> Checkpoint:
        """Adds leaves and signs what the log is then. When this returns they outlive a loss of power.

        Raises OSError, and ProblemsFound where the log was changed meanwhile: then none of them is confirmed.
        """
        if self._unsure:
            self._load()
        edge, bundle, files = self._edge.copy(), list(self._bundle), {}
        for size, record in enumerate(records, self.checkpoint.size):
            if len(record) > LARGEST_RECORD:
                raise ValueError(f"a record has at most {LARGEST_RECORD} bytes")
            bundle.append(record)
            if len(bundle) == TILE:
                files[path(ENTRIES, size // TILE)] = pack(bundle)
                bundle = []
            for level, hashes in edge.append(leaf_hash(record)):
                files[path(level, size >> LEVELS_PER_TILE * (level + 1))] = b"".join(hashes)
        size = self.checkpoint.size + len(records)
        if bundle:
            files[path(ENTRIES, size // TILE, len(bundle))] = pack(bundle)
        for level, partial in enumerate(edge.levels):
            if partial:
                files[path(level, size >> LEVELS_PER_TILE * (level + 1), len(partial))] = b"".join(partial)
        checkpoint = Checkpoint(self._signer.name, size, edge.root() if size else EMPTY)
        note = stamped(checkpoint, self._signer, int(time.time()))
        self._unsure, self._attempt = True, (self._attempt[0], checkpoint)
        _write(self._folder, files)
        with replacing(self._folder / CHECKPOINT, FILE_MODE) as out:
            out.write(note)
        self._unsure = False
        before, self.checkpoint, self._edge, self._bundle = self.checkpoint, checkpoint, edge, bundle
        if self._last is not None and size:
            self._last.keep(note)
        if size != before.size:
            self._remember(note)
            self._forget_partials(before.size)
        return checkpoint

    def _load(self) -> None:
        """What is confirmed, from disk. Raises ProblemsFound where it does not fit together, or is neither what this
        writer has confirmed nor what it was about to."""
        where = str(self._folder)
        how = "Look into it with `modelward audit verify`; move the folder, and `last`, away to begin another log"
        try:
            note = self._reader.note()
            note.verify(self._signer.verifier)
            checkpoint = Checkpoint.parse(note.text)
            size = checkpoint.size
            levels = []
            for level, width in enumerate(widths(size)):
                data = self._reader.hashes(level, size >> LEVELS_PER_TILE * (level + 1), width) if width else b""
                levels.append(split(data))
            edge = Edge(levels)
            bundle = self._reader.bundle(size // TILE, size % TILE) if size % TILE else []
        except FileNotFoundError:
            if self.checkpoint.size or any(self._folder.glob("tile/*/*")) or (self._folder / HISTORY).exists():
                raise ProblemsFound([Problem("the log has lost its checkpoint", where, how=how)]) from None
            self._unsure = False
            return
        except OtherKey as error:
            folder = self._last.file.parent if self._last is not None else None
            raise ProblemsFound([key.of_another(where, error, folder)]) from None
        except (NotSigned, Gone, ValueError) as error:
            raise ProblemsFound([Problem("the log cannot be continued", where, str(error), how)]) from None
        if edge.size != size or (size and edge.root() != checkpoint.root) or checkpoint.origin != self._signer.name:
            raise ProblemsFound([Problem("the log is not what its checkpoint says", where, how=how)])
        if [leaf_hash(record) for record in bundle] != (edge.levels[0] if edge.levels else []):
            raise ProblemsFound([Problem("the last records of the log were changed", where, how=how)])
        if self._unsure and checkpoint not in (self.checkpoint, self._attempt[1]):
            self._taken_back(f"it has {size} records, and {self.checkpoint.size} were confirmed")
        self.checkpoint, self._edge, self._bundle, self._unsure = checkpoint, edge, bundle, False

    def _holds_last(self) -> None:
        """Raises ProblemsFound."""
        last = self._last.read(self._signer.verifier) if self._last is not None else None
        if last is None:
            return
        size = self.checkpoint.size
        try:
            between = 0 < last.size < size
            proof = consistency_proof(last.size, size, nodes(size, self._reader.hashes)) if between else []
            check_consistency(last.size, size, last.root, self.checkpoint.root, proof)
        except (Gone, ValueError, ProofFails):
            self._taken_back(f"it has {size} records, and not the {last.size} that were confirmed last")

    def _taken_back(self, why: str) -> NoReturn:
        how = self._last.how if self._last is not None else "Put the log back as it was"
        raise ProblemsFound([Problem(TAKEN_BACK, str(self._folder), why, how)])

    def _remember(self, note: bytes) -> None:
        """Adds to the history, which no confirmation depends on."""
        try:
            with open(self._folder / HISTORY, "ab", opener=_private) as out:
                out.write(json.dumps({"note": note.decode()}).encode() + b"\n")
        except OSError as error:
            self._mishap(KEEPS_HISTORY, error)

    def _forget_partials(self, before: int) -> None:
        """Removes what full tiles have replaced, and narrower partial ones but for those of the checkpoint before."""
        size = self.checkpoint.size
        levels: list[tuple[int | str, int]] = [(ENTRIES, 0), *((i, i) for i in range(len(self._edge.levels)))]
        for level, height in levels:
            now, then = size >> LEVELS_PER_TILE * height, before >> LEVELS_PER_TILE * height
            kept = {now % TILE}
            if now // TILE != then // TILE:
                self._remove_partials(self._folder / f"{path(level, then // TILE)}.p", set())
            else:
                kept.add(then % TILE)
            self._remove_partials(self._folder / f"{path(level, now // TILE)}.p", kept)

    def _remove_partials(self, folder: Path, kept: set[int]) -> None:
        try:
            for name in os.listdir(folder):
                if not name.isdecimal() or int(name) not in kept:
                    os.unlink(folder / name)
            if not kept:
                os.rmdir(folder)
        except FileNotFoundError:
            return  # a level whose tile was full has none
        except OSError as error:
            self._mishap(TIDIES, error)


def remove_bundles(root: Path, first: int, end: int) -> None:
    """The records of bundles that lie between the two; their hashes stay. Raises OSError."""
    folders = set()
    for index in range(-(-first // TILE), end // TILE):
        file = root / path(ENTRIES, index)
        try:
            os.unlink(file)
        except FileNotFoundError:
            continue
        folders.add(file.parent)
    _sync_folders(folders)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, FILE_MODE)


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    """Writes them, and returns when they outlive a loss of power. Raises OSError."""
    for name, data in files.items():
        file = root / name
        _make_folders(root, file.parent)
        beside = file.with_name(f".{file.name}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, file)
    _sync_folders({(root / name).parent for name in files})


def _make_folders(root: Path, folder: Path) -> None:
    missing = []
    while not folder.is_dir() and folder != root:
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=FOLDER_MODE, exist_ok=True)
    _sync_folders({each.parent for each in missing})


def _sync_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
