"""Work on a model that may never end, done in a thread of its own and given up at a deadline."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from modelward.child import Bounds, ChildEnded, in_child
from modelward.models.runtime import runtime
from modelward.models.warmup import made_up, sizes
from modelward_native.backend.engine import Engine

if TYPE_CHECKING:
    from modelward.models.canary import Arrays

T = TypeVar("T")

# a run ends between two operators once it is told to
LAST_SECONDS = 1.0
# between two words that it still lasts
TOLD_SECONDS = 5.0


# bytes that a child may write to when it opens a model, beside this many times the model's own
CHILD_MEMORY = 2 << 30
COPIES = 4


def try_in_child(data: bytes, seconds: float) -> None:
    """Opens a model and runs it once, in a process that may not survive it. Raises ChildEnded where it does not, and
    ValueError with the runtime's words where it cannot be opened, or takes too much memory."""
    try:
        in_child(Bounds(seconds, CHILD_MEMORY + COPIES * len(data)), open_once, data)
    except MemoryError:
        raise ChildEnded("it takes too much memory") from None


def open_once(data: bytes) -> None:
    runtime()
    engine = Engine("trial", "1", data)
    for size in sizes(engine):
        try:
            engine.run_plain(made_up(engine, None, size))
        except ValueError as error:  # it may refuse what is made up
            if "alloc" in str(error):
                raise
        else:
            return


def run_in_child(data: bytes, inputs: Arrays, seconds: float) -> Arrays:
    """What a model answers, from a process that may not survive it. Raises ChildEnded where it does not, and ValueError
    with the runtime's words where the model cannot be opened or refuses the inputs."""
    return in_child(Bounds(seconds, sys.maxsize), run_once, data, inputs)


def run_once(data: bytes, inputs: Arrays) -> Arrays:
    runtime()
    return Engine("trial", "1", data).run_once(inputs)


class TookTooLong(Exception):
    """It was given up. is_stuck: its thread could not be ended, and runs until this process ends."""

    def __init__(self, seconds: float, *, is_stuck: bool) -> None:
        self.is_stuck = is_stuck
        super().__init__(f"it took longer than {seconds:g} s")


class Attempt(Generic[T]):
    """One piece of work, which tells of the engine that it opens: its runs can be ended, the opening cannot."""

    def __init__(self, work: Callable[[Attempt[T]], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._engine: Engine | None = None  # open, and this thread's to close unless the work succeeds
        self._is_given_up = False
        self._results: list[T] = []
        self._error: BaseException | None = None
        # a daemon: one that never ends must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def engine(self, engine: Engine) -> Engine:
        """The engine that the work has opened goes through here at once."""
        with self._lock:
            self._engine = engine
            if self._is_given_up:
                engine.terminate()
        return engine

    def within(self, seconds: float, waiting: Callable[[float], None]) -> T:
        """The result, or the exception of the work. Raises TookTooLong. Without a result the engine is closed."""
        self._thread.start()
        spent = 0.0
        while self._thread.is_alive() and spent < seconds:
            if spent:
                waiting(spent)
            self._thread.join(min(TOLD_SECONDS, seconds - spent))
            spent += TOLD_SECONDS
        with self._lock:
            if self._results:
                return self._results[0]
            self._is_given_up = self._error is None
            if self._engine is not None:
                self._engine.terminate()
        if self._error is not None:
            raise self._error
        self._thread.join(LAST_SECONDS)
        raise TookTooLong(seconds, is_stuck=self._thread.is_alive())

    def _run(self) -> None:
        result: list[T] = []
        error: BaseException | None = None
        try:
            result.append(self._work(self))
        except BaseException as raised:  # noqa: BLE001 - raised by the thread that waits
            error = raised
        with self._lock:
            engine, self._engine = self._engine, None
            self._error = error
            if not self._is_given_up:
                self._results = result
        if engine is not None and not self._results:
            with contextlib.suppress(RuntimeError):  # closed already
                engine.close()


def within(seconds: float, work: Callable[[Attempt[T]], T], waiting: Callable[[float], None] = lambda spent: None) -> T:
    """What `work` returns or raises, within `seconds`. Raises TookTooLong. waiting: told from time to time
    how many seconds have been spent."""
    return Attempt(work).within(seconds, waiting)
