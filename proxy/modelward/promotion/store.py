"""The file of promotions, and its copy, which the supervisor alone writes.

The copy is written after the file. A file that is missing or broken beside a good copy was lost, and the copy counts.
Where both are broken, or one is broken and the other missing, what was promoted is not known: `lost` says so.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

from msgspec import structs

from modelward.atomic_file import replace_file
from modelward.bounded_file import read_regular
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.fault import fault_of_state
from modelward.promotion.state import State
from modelward.records import read, written

log = logging.getLogger("modelward.promotion")

FILE = "promotions.json"
COPY = "promotions.copy.json"
BROKEN = "promotions.broken.json"
"""Where a file that cannot be read as one is put."""
LARGEST_FILE = 16 << 20
LARGEST_FOLLOWED = LARGEST_FILE * 3 // 4
"""What others have decided is not taken beyond this size, so that there is room for this server's own decisions."""
RETRY_SECONDS = 2.0
LOG_SECONDS = 60.0
HOW = "Set state to a folder that the server may write, on a disk with room"


class Store:
    """Use `load` first. failures: writes that failed. unsaved: memory holds what the disk does not."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.failures = 0
        self.lost = False
        self._clock = clock
        self._unsaved: State | None = None
        self._saved: State | None = None
        self.size = 0
        """Bytes of the file."""
        self._tried = self._logged = -inf
        self.beside: dict[str, str] = {}
        """Other files of the folder, by name: written again where they are removed while the server runs."""

    @property
    def words(self) -> str:
        """For READY."""
        if (problem := unwritable(self.folder)) is not None:
            return f"{self.folder}: {problem.what}, {problem.why}"
        known = len(self._saved.promotions) if self._saved is not None else 0
        if self.lost:
            return f"{self.folder}: what was promoted is lost, see the log"
        return f"{self.folder}, {known} promotion{'' if known == 1 else 's'} known"

    @property
    def unsaved(self) -> bool:
        return self._unsaved is not None

    @property
    def room(self) -> int:
        """Bytes for what other servers have decided."""
        return LARGEST_FOLLOWED - self.size

    def load(self) -> State:
        """What was kept; nothing where nothing was. Raises ProblemsFound where a file may not be read."""
        state, problem = self._read(FILE)
        if state is not None:
            self._saved = state
            return state
        copy, copy_problem = self._read(COPY)
        if problem is None and copy is None and copy_problem is None:
            return State()
        for each in filter(None, (problem, copy_problem)):
            log.error("%s", each)
        if problem is not None:
            self._put_aside()
        self.lost = copy is None
        if copy is not None:
            log.error("%s: what was promoted is taken from the copy", self.folder / FILE)
            self.keep(copy)
        return copy or State()

    def peek(self) -> State:
        """As `load`, but it changes, logs and judges nothing. Raises ProblemsFound where a file may not be read."""
        return self._read(FILE)[0] or self._read(COPY)[0] or State()

    def save(self, state: State) -> None:
        """Raises ProblemsFound, and then nothing has changed."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = _text(state)
            replace_file(self.folder / FILE, text)
            replace_file(self.folder / COPY, text)
        except OSError as error:
            self.failures += 1
            why = error.strerror or os.strerror(error.errno or 0)
            raise ProblemsFound([Problem("the state cannot be written", str(self.folder / FILE), why, HOW)]) from error
        if self.unsaved:
            log.warning("%s: the state is written again, and outlives a restart", self.folder / FILE)
        self._unsaved, self._saved, self.size = None, state, len(text)

    def keep(self, state: State) -> Problem | None:
        """Writes it now, or as soon as that can be done (`retry`): then why it cannot be done now."""
        try:
            self.save(state)
        except ProblemsFound as found:
            self._unsaved = state
            self._tried = self._clock()
            (problem,) = found.problems
            if not 0 <= self._tried - self._logged < LOG_SECONDS:
                self._logged = self._tried
                log.error("%s; what was done is served, but a restart would undo it", problem)
            return problem
        return None

    def retry(self) -> None:
        """Writes again what could not be written, and a file that was removed meanwhile. To be called all the time."""
        if self._unsaved is None and self._saved is not None and not (self.folder / FILE).exists():
            log.error("%s: the file is gone while the server runs; it is written again", self.folder / FILE)
            self.keep(self._saved)
        elif self._unsaved is not None and not 0 <= self._clock() - self._tried < RETRY_SECONDS:
            self.keep(self._unsaved)
        for name, text in self.beside.items():
            if not (self.folder / name).exists():
                self._restore(self.folder / name, text)

    def _restore(self, file: Path, text: str) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(file, text)
        except OSError as error:
            if not 0 <= self._clock() - self._logged < LOG_SECONDS:
                self._logged = self._clock()
                log.error("%s: the file is gone and cannot be written again: %s", file, error.strerror)
        else:
            log.error("%s: the file is gone while the server runs; it is written again", file)

    def _read(self, name: str) -> tuple[State | None, Problem | None]:
        """What a file says; nothing where there is none; or why it says nothing."""
        file = self.folder / name
        try:
            text = read_regular(file, LARGEST_FILE)
            state = read(State, text)
            if fault := fault_of_state(state):
                return None, _no_state(file, fault)
            self.size = len(text)
            return state, None
        except (FileNotFoundError, NotADirectoryError):
            return None, None
        except OSError as error:
            why = error.strerror or str(error)
            how = "Let the server read it, or set state to another folder"
            raise ProblemsFound([Problem("the state cannot be read", str(file), why, how)]) from error
        except ValueError as error:
            return None, _no_state(file, str(error))

    def _put_aside(self) -> None:
        try:
            os.replace(self.folder / FILE, self.folder / BROKEN)
        except OSError as error:
            log.error("%s cannot be put aside: %s", self.folder / FILE, error.strerror)


def _text(state: State) -> bytes:
    """As it is written. Without its oldest events where it would be too long to be read again. Raises ProblemsFound
    where it is too long even so."""
    while len(text := written(state, indent=1) + b"\n") > LARGEST_FILE:
        if not state.events:
            why = f"it has {len(text)} bytes, and no more than {LARGEST_FILE} are read again"
            how = "See who else writes to the store of the fleet"
            raise ProblemsFound([Problem("the state cannot be written", FILE, why, how)])
        state = structs.replace(state, events=state.events[(len(state.events) + 1) // 2 :])
    return text


def unwritable(folder: Path) -> Problem | None:
    """Why a state in this folder could not be written by this process, as far as that shows without writing."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return None
    why = "it may not be written" if there.is_dir() else f"{there} is no folder"
    return Problem("promotions and rollbacks will not outlive a restart", str(folder), why, HOW)


def _no_state(file: Path, why: str) -> Problem:
    how = (
        f"Put back a good one while the server is stopped; this one is moved to {BROKEN}. Without a good copy "
        "the shares are those of versions:, and a model without them is answered by the version before its newest"
    )
    return Problem("this is no file of promotions", str(file), why, how)
