"""Retention of a running server's audit log: once an hour, in a thread, beside everything else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from modelward.audit.log import Gone, Reader
from modelward.audit.note import NotSigned, Verifier
from modelward.audit.record import now
from modelward.audit.recorder import NotRecorded, Recorder
from modelward.audit.removal import Range
from modelward.audit.retention import Planner, steps
from modelward.config.retention import Retention

log = logging.getLogger("modelward.audit")

INTERVAL_SECONDS = 3600.0

Remove = Callable[[int, int], None]
"""Removes the contents of records, from the first to before the second. Blocks; raises OSError."""


class Retaining:
    """Use `start` and `stop`. remove: of the same log."""

    def __init__(
        self, settings: Retention, reader: Reader, verifier: Verifier, remove: Remove, trail: Recorder
    ) -> None:
        self.failures = 0
        self._settings = settings
        self._planner = Planner(reader, verifier, settings)
        self._remove = remove
        self._trail = trail
        self._removed: tuple[Range, ...] = ()  # by this process
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def once(self) -> None:
        """Raises OSError, NotSigned, NotRecorded, ValueError."""
        plan = await asyncio.to_thread(self._planner.plan, now())
        if plan.problem is not None:
            self.failures += 1
            log.warning("%s", plan.problem)
        if plan.removes:
            number = await self._trail.confirm(plan.record(self._settings))
            log.info("%d records of the audit trail are removed, as record %d tells", plan.removes, number)
        # also what an earlier process has told and not finished
        if plan.ranges != self._removed:
            for first, end in steps(plan.ranges):
                await asyncio.to_thread(self._remove, first, end)
            self._removed = plan.ranges

    async def _run(self) -> None:
        while True:
            try:
                await self.once()
            except (OSError, NotSigned, NotRecorded, Gone, ValueError, KeyError, TypeError) as error:
                self.failures += 1
                log.warning("old records of the audit trail are not removed: %s", error)
            except Exception:  # else no record was removed any more, and nothing said so
                self.failures += 1
                log.exception("a bug in the retention of the audit trail")
            await asyncio.sleep(INTERVAL_SECONDS)
