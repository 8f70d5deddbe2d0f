"""The audit trail of a running server: one thread writes what is to be recorded, in order, all that waits at a time.

What cannot be written stays in line and is tried again as it is, so that nothing is recorded twice or out of order. A
person's action that was given up meanwhile is recorded as refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Struct, structs

from modelward.audit.fitting import fitting
from modelward.audit.log import Gone, Log, Mishap
from modelward.audit.read_back import told_of
from modelward.audit.record import Record, summary
from modelward.audit.record import now as utc
from modelward.audit.recorder import NotRecorded
from modelward.audit.unanswered import Tell, outcomes, told_unknown
from modelward.plural import counted
from modelward.problem import Problem, ProblemsFound
from modelward.telemetry.paced import Paced
from modelward.telemetry.snapshot import AuditSnapshot

log = logging.getLogger("modelward.audit")

PATIENCE_SECONDS = 5.0
"""How long a person waits for the store."""
START_SECONDS = 1.0
"""How long a start waits for it, to tell in READY whether it is there."""
RETRY_SECONDS = 1.0
LOG_SECONDS = 60.0
MOST_WAITING, MOST_BYTES = 4096, 16 << 20
"""Records in line. Of the server's own, what comes beyond is counted, and recorded as a number."""
RESERVED = 1.25
"""Times as many, where people do something."""
BATCH = 1024
LOST = "audit.lost"
MOST_VERBS = 64
RECORDS = "records"
FULL, FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (errno.EROFS, errno.EACCES, errno.EPERM)

OpenLog = Callable[[Mishap], Log]


class _Entry(Struct, eq=False):
    """told: who waits, until told. given_up: why nobody waits any more for what was asked."""

    record: Record
    size: int
    told: Callable[[int | Problem], None] | None = None
    given_up: Problem | None = None


class Trail:
    """Implements modelward.audit.recorder.Recorder. Use `start`, and `stop` in any case.

    open_log: called on the writing thread, again until it works. where: the store, in words. key: with which its
    checkpoints are checked. name: of the server. interval: seconds between two checkpoints, at most. tell: what came of
    what people had asked for when the server ended; called on the writing thread.
    """

    def __init__(
        self,
        open_log: OpenLog,
        where: str,
        key: str = "",
        *,
        name: str = "",
        tell: Tell = told_unknown,
        interval: float = 60.0,
        patience: float = PATIENCE_SECONDS,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self.key = key
        self._open_log = open_log
        self._where = where
        self._name = name
        self._interval = interval
        self._patience = patience
        self._retry = retry
        self._tell = tell
        self._log: Log | None = None  # the thread's
        self._unanswered: Sequence[Record] | None = None  # likewise, until it is in the log
        self._refusals = Paced()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._changed = threading.Condition()
        # the rest is guarded by it
        self._line: deque[_Entry] = deque()
        self._bytes = 0  # of what is in line
        self._busy_since: float | None = None
        self._batch: list[_Entry] = []  # that is being written, or could not be: the first to be tried again
        self._problem: Problem | None = None  # why nothing can be written
        self._try_at = self._logged_at = 0.0  # monotonic seconds, as all that follow
        self._signed_at = time.monotonic()
        self._due_at = 0.0
        self._ended = False
        self._size = self._records = self._lost = 0
        self._failures: Counter[str] = Counter({RECORDS: 0})
        self._lost_verbs: Counter[str] = Counter()

    # ---- on the supervisor's loop

    async def start(self) -> None:
        """Returns when the store is open, or soon; then that is tried on."""
        self._thread.start()
        await asyncio.to_thread(self._tried.wait, min(START_SECONDS, self._patience))

    async def stop(self) -> None:
        """Writes what waits, if that can be done in time."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, min(PATIENCE_SECONDS, self._patience))
        with self._changed:
            left = [*self._batch, *self._line]
        if left:
            verbs = ", ".join(sorted({entry.record.verb for entry in left})[:MOST_VERBS])
            log.error("%s of the audit trail could not be written before the end: %s", _records(len(left)), verbs)

    async def confirm(self, record: Record) -> int:
        try:
            return await self._wait_for(record)
        except NotRecorded as found:
            verb, name, why = record.verb, record.actor.name, str(found)
            told = partial(log.error, "%d refused, the last %s of %s: %s")
            self._refusals.add("refused", 1, time.monotonic(), lambda count: told(count, verb, name, why))
            raise

    async def settle(self, record: Record) -> bool:
        try:
            await self._wait_for(record)
        except NotRecorded:  # it stays in line, or is counted
            return False
        return True

    async def told_of(self, proposal: int, verb: str, since: datetime) -> Sequence[Mapping[str, Any]]:
        if (log := self._log) is None:
            raise NotRecorded([self._problem or self._not_recorded("it is not open yet", "")])
        try:
            return await asyncio.to_thread(told_of, log, self._name, proposal, verb, since)
        except (OSError, Gone, ValueError, ProblemsFound) as error:
            raise NotRecorded([self._not_recorded(f"its records cannot be read: {error}", "")]) from None

    def note(self, record: Record) -> None:
        try:
            self._put(record, None, 1)
        except NotRecorded:
            self._lose(record)

    @property
    def words(self) -> str:
        """For READY and status."""
        with self._changed:
            size, problem = self._size, self._problem
        if (seconds := self._silent()) is not None:
            return f"{self._where}: no answer for {seconds:.0f} s; what people ask for is refused until it comes"
        if not self._tried.is_set():
            return f"{self._where}: not open yet; what people ask for waits a moment for it"
        if problem is not None:
            return f"{self._where}: cannot be written, {problem.why}; what people ask for is refused until it can"
        return f"{self._where}, {_records(size)}; public key {self.key}"

    def stats(self) -> AuditSnapshot:
        with self._changed:
            return AuditSnapshot(
                records=self._records,
                failures=dict(self._failures),
                lost=self._lost,
                waiting=len(self._line) + len(self._batch),
                up=int(self._problem is None and self._tried.is_set() and self._silent() is None),
                checkpoint_age=time.monotonic() - self._signed_at,
                size=self._size,
            )

    def _silent(self) -> float | None:
        """For how many seconds the store has not answered, where that is too long."""
        since = self._busy_since
        seconds = 0.0 if since is None else time.monotonic() - since
        return seconds if seconds >= self._patience else None

    async def _wait_for(self, record: Record) -> int:
        """Its number. Raises NotRecorded."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[int] = loop.create_future()

        def tell(outcome: int | Problem) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed, and its callers are gone
                loop.call_soon_threadsafe(_answer, answered, outcome)

        try:
            entry = self._put(record, tell, RESERVED)
        except NotRecorded:
            if record.result != "asked":
                self._lose(record)
            raise
        try:
            async with asyncio.timeout(self._patience):
                return await answered
        except TimeoutError:
            problem = self._not_recorded(f"the store has not answered within {self._patience:g} s", "")
            if not self._give_up(entry, problem):
                return await answered
            raise NotRecorded([problem]) from None
        except asyncio.CancelledError:
            self._give_up(entry, self._not_recorded("its caller did not wait", ""))
            raise

    def _put(self, record: Record, told: Callable[[int | Problem], None] | None, share: float) -> _Entry:
        """share: of the room. Raises NotRecorded where that is taken."""
        named = record if record.server else structs.replace(record, server=self._name)
        entry = _Entry(*fitting(named), told)
        with self._changed:
            if self._ended or len(self._line) >= share * MOST_WAITING or self._bytes >= share * MOST_BYTES:
                why = "the server ends" if self._ended else f"{_records(len(self._line))} wait already"
                raise NotRecorded([self._not_recorded(why, "")])
            self._append(entry)
            if told is not None:
                self._try_at = 0.0  # a person's asking is worth a try
            self._changed.notify()
        return entry

    def _append(self, entry: _Entry) -> None:
        self._line.append(entry)
        self._bytes += entry.size

    def _give_up(self, entry: _Entry, problem: Problem) -> bool:
        """False where it is told already."""
        with self._changed:
            if entry.told is None:
                return False
            entry.told, entry.given_up = None, problem
            return True

    def _lose(self, record: Record) -> None:
        with self._changed:
            self._lost += 1
            known = record.verb in self._lost_verbs or len(self._lost_verbs) < MOST_VERBS
            self._lost_verbs[record.verb if known else "others"] += 1

    def _not_recorded(self, why: str, how: str) -> Problem:
        what = "the audit trail cannot be written, and what is not recorded is not done"
        return Problem(what, self._where, why, how or "Ask again when it can be written: status and the log tell")

    # ---- on the writing thread

    def _run(self) -> None:
        while self._wait():
            records = [entry.record for entry in self._batch]
            try:
                if self._log is None:
                    self._log = self._open_log(self._mishap)
                self._answer(self._log)
                first = self._log.append(records)
                size = self._log.checkpoint.size
            except (OSError, ProblemsFound) as error:
                self._not_written(error)
            except Exception as error:
                log.exception("a bug in the audit trail")
                self._not_written(error)
            else:
                self._written(first, size)
            self._tried.set()
        if self._log is not None:
            self._log.close()

    def _answer(self, log: Log) -> None:
        """Before the record of this start: the next one looks no further back."""
        if self._unanswered is None:
            self._unanswered = outcomes(log, self._name, self._tell, self._mishap)
        if self._unanswered:
            log.append(self._unanswered)
            with self._changed:
                self._records += len(self._unanswered)
            self._unanswered = ()

    def _wait(self) -> bool:
        """Until there is something to be done, which is in `_batch` then. False at the end."""
        with self._changed:
            while True:
                left = bool(self._batch or self._line)
                if self._ended and (not left or self._problem is not None):
                    return False
                at = self._try_at if self._problem is not None else self._due_at
                pause = at - time.monotonic()
                if pause <= 0 or (left and self._problem is None):
                    break
                self._changed.wait(pause)
            if not self._batch:
                self._batch = [self._line.popleft() for _ in range(min(BATCH, len(self._line)))]
                self._bytes -= sum(entry.size for entry in self._batch)
            self._busy_since = time.monotonic()
            return True

    def _written(self, first: int, size: int) -> None:
        with self._changed:
            for number, entry in enumerate(self._batch, first):
                if entry.told is not None:
                    entry.told(number)
                elif entry.given_up is not None and entry.record.result == "asked":
                    self._append(_Entry(*fitting(_refused(entry, number))))
            self._busy_since = None
            self._records += len(self._batch)
            self._batch = []
            if self._lost_verbs:
                lost = {"records": dict(self._lost_verbs)}
                told = summary(LOST, reason="too many waited", figures=lost, server=self._name)
                self._append(_Entry(*fitting(told)))
                self._lost_verbs.clear()
            self._size, self._signed_at = size, time.monotonic()
            self._due_at = self._signed_at + self._interval
            again, self._problem = self._problem is not None, None
            waiting = len(self._line)
        if again:
            log.warning("%s: the audit trail is written again, %s wait", self._where, _records(waiting))

    def _not_written(self, error: Exception) -> None:
        problem = self._why(error)
        with self._changed:
            self._busy_since = None
            self._failures[RECORDS] += 1
            for entry in (*self._batch, *self._line):
                if entry.told is not None:
                    entry.told(problem)
                    entry.told, entry.given_up = None, problem
            self._problem, failures = problem, self._failures[RECORDS]
            now = time.monotonic()
            self._try_at = now + self._retry
            due = now >= self._logged_at
            if due:
                self._logged_at = now + LOG_SECONDS
        if due:
            log.error("%s (%d writes have failed so far)", problem, failures)

    def _why(self, error: Exception) -> Problem:
        if isinstance(error, ProblemsFound):
            found = error.problems[0]
            return self._not_recorded(": ".join(filter(None, (found.what, found.why))), found.how)
        if not isinstance(error, OSError):
            return self._not_recorded("an internal error", "The server's log says more")
        how = ""
        if error.errno in FULL:
            how = "Make room there, and ask again: the server tries on by itself"
        elif error.errno in FORBIDDEN:
            how = "Let the server write there, and ask again: it tries on by itself"
        return self._not_recorded(error.strerror or str(error), how)

    def _mishap(self, what: str, error: OSError) -> None:
        """No record depends on what has failed."""
        with self._changed:
            self._failures[what] += 1
            first = self._failures[what] == 1
        if first:
            log.warning("%s: the %s of the audit trail cannot be kept: %s", self._where, what, error.strerror or error)


def _refused(entry: _Entry, number: int) -> Record:
    """What came of an action that was given up."""
    asked, problem = entry.record, entry.given_up
    assert problem is not None
    return Record(
        at=utc(),
        kind=asked.kind,
        verb=asked.verb,
        result="refused",
        actor=asked.actor,
        of=number,
        model=asked.model,
        version=asked.version,
        object=asked.object,
        server=asked.server,
        problems=(problem.as_json(),),
    )


def _answer(answered: asyncio.Future[int], outcome: int | Problem) -> None:
    if answered.done():
        return
    if isinstance(outcome, Problem):
        answered.set_exception(NotRecorded([outcome]))
    else:
        answered.set_result(outcome)


def _records(count: int) -> str:
    return counted(count, "record")
