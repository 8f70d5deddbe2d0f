"""The log in local files as the trail writes it: records are given their numbers, and none is written twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelward.audit.files import LogReader, LogWriter
from modelward.audit.landed import Landed
from modelward.audit.note import Checkpoint, Signer
from modelward.audit.record import Record


class FileLog:
    """Use `open`."""

    def __init__(self, folder: Path, writer: LogWriter) -> None:
        self._folder = folder
        self._writer = writer
        self._landed = Landed()

    @classmethod
    def open(cls, folder: Path, signer: Signer) -> FileLog:
        """Begins a log, or goes on with it. Raises ProblemsFound, OSError."""
        return cls(folder, LogWriter.open(folder, signer))

    @property
    def checkpoint(self) -> Checkpoint:
        return self._writer.checkpoint

    def append(self, records: Sequence[Record]) -> list[int]:
        first = self._writer.settle().size
        if self._landed.tried is not None:
            self._landed.settle(self._landed.tried[1] < first)
        new = self._landed.new(records)
        self._landed.tried = (tuple(new), first) if new else None
        # where none is new, it still makes sure of those that are there
        self._writer.append([record.encoded(first + i) for i, record in enumerate(new)])
        self._landed.tried = None
        return self._landed.numbers(records, first)

    def remove(self, first: int, end: int) -> None:
        self._writer.remove(first, end)

    def reader(self) -> LogReader:
        return LogReader(self._folder)

    def close(self) -> None:
        self._writer.close()
