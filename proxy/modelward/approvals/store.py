"""The file of proposals, which the supervisor alone writes: whole, and with what it says confirmed on disk."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from modelward.approvals import FILE
from modelward.approvals.book import Book
from modelward.atomic_file import replace_file
from modelward.bounded_file import read_regular
from modelward.problem import Problem, ProblemsFound
from modelward.records import read, written

LARGEST_FILE = 64 << 20
HOW = "Set state to a folder that the server may write, on a disk with room"
HOW_BROKEN = "Put a good copy of it back, or move it away: its open proposals have to be made again then"

log = logging.getLogger("modelward.approvals")


class Store:
    """failures: writes that failed."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self.failures = 0

    def load(self) -> Book:
        """What was kept; an empty book where nothing was. Raises ProblemsFound."""
        try:
            return read(Book, read_regular(self.file, LARGEST_FILE))
        except (FileNotFoundError, NotADirectoryError):
            return Book()
        except OSError as error:
            raise self._unreadable(error.strerror or str(error), HOW) from error
        except ValueError as error:
            raise self._unreadable(str(error), HOW_BROKEN) from error

    def save(self, book: Book) -> None:
        """Raises ProblemsFound, and then nothing has changed."""
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self.file, written(book, defaults=False, indent=1) + b"\n")
        except OSError as error:
            self.failures += 1
            why = error.strerror or os.strerror(error.errno or 0)
            raise ProblemsFound([Problem("proposals cannot be written", str(self.file), why, HOW)]) from error

    def _unreadable(self, why: str, how: str) -> ProblemsFound:
        return ProblemsFound([Problem("the file of proposals cannot be read", str(self.file), why, how)])
