"""A log of records, whatever keeps it: local files, or a database that servers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from modelward.audit.note import Checkpoint, Note
from modelward.audit.record import Record

Mishap = Callable[[str, OSError], None]
"""Told of what failed and no record depends on: in a word, and why."""


class Gone(Exception):
    """Something of the log is missing, or is not what its place says. The message names it."""

    def __init__(self, what: str, record: int = -1, *, missing: bool = False) -> None:
        """record: the first that it concerns, where that is known. missing: it is not there at all."""
        super().__init__(what)
        self.record = record
        self.missing = missing


class Reader(Protocol):
    """What a log holds. Nothing of it is believed: see modelward.audit.verify."""

    def note(self) -> Note:
        """The newest checkpoint, with its signatures. Raises OSError, NotSigned."""

    def history(self) -> Iterator[Note]:
        """Earlier checkpoints, the oldest first. Raises OSError, NotSigned."""

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """The first `width` hashes of a tile. Raises Gone."""

    def bundle(self, index: int, width: int) -> list[bytes]:
        """The first `width` records of a bundle. Raises Gone."""

    def records(self, first: int, end: int) -> Iterator[bytes]:
        """From `first` to before `end`. Raises Gone."""

    def close(self) -> None: ...


class Log(Protocol):
    """The writing end. Its methods block: they are called on a thread of their own, by one caller at a time."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What is confirmed."""

    def append(self, records: Sequence[Record]) -> int:
        """Adds them, in order, under one signed checkpoint; returns the number of the first.

        When it returns they outlive a loss of power. Without records the checkpoint is signed again, with the time of
        now. Raises OSError, ProblemsFound: then none of them is confirmed, and the next call gives the same records
        again; they are not added twice, where they were written after all.
        """

    def reader(self) -> Reader: ...

    def close(self) -> None: ...
