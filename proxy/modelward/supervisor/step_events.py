"""Steps that identities take by themselves: told in the log and the audit trail, and their names remembered.

Strangers decide how many there are, so modelward.supervisor.step_minute bounds what is told of a minute. Counts in
metrics are exact, whatever is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from modelward.admin.operator import NotNow
from modelward.audit.record import Record, automatic, now
from modelward.audit.recorder import Recorder
from modelward.config.schema import Config
from modelward.detect.restriction import Known
from modelward.detect.suspects import gets
from modelward.supervisor.step_minute import StepMinute
from modelward.telemetry.snapshot import DetectionSnapshot
from modelward_native.detect.steps import read
from modelward_native.detect.suspicion import STEPS, Suspicion
from modelward_native.region.region import Region

if TYPE_CHECKING:
    from modelward_native.detect.steps import Event

log = logging.getLogger("modelward.detect")

LOOK_SECONDS = 1.0
COUNT_SECONDS = 10.0  # a count of a million identities takes 20 ms
MINUTE_SECONDS = 60.0
MOST_NAMES = 10_000


class StepEvents:
    """Run `watch`, and `end` at the end. names: whose records have taken steps, by key; the latest of them."""

    def __init__(
        self,
        region: Region,
        suspicion: Callable[[], Suspicion | None],
        config: Callable[[], Config],
        trail: Callable[[], Recorder],
    ) -> None:
        """suspicion: raises NotNow where there is none, for want of workers."""
        self._region = region
        self._suspicion = suspicion
        self._config = config
        self._trail = trail
        self._read: dict[int, int] = {}
        self.names: dict[int, Known] = {}
        self.lost = 0
        self._steps: Mapping[str, int] = {}
        self._evicted = 0
        self._minute = StepMinute(time.monotonic())
        self._counted = -COUNT_SECONDS

    async def watch(self) -> None:
        """For ever."""
        logged = -MINUTE_SECONDS
        while True:
            try:
                self.look(time.monotonic())
            except Exception:
                self.lost += 1
                if (at := time.monotonic()) - logged >= MINUTE_SECONDS:
                    logged = at
                    log.exception("steps of identities could not be told")
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, at: float) -> None:
        events, lost = read(self._region, self._read)
        self.lost += lost
        if lost:
            self._minute.lose(lost)
        for event in sorted(events, key=lambda event: event[9]):
            self._tell(event)
        if at - self._minute.began >= MINUTE_SECONDS:
            self.sum_up(at)
        if at - self._counted >= COUNT_SECONDS:
            self._counted = at
            self._count()

    def sum_up(self, at: float) -> None:
        """What was not told one by one."""
        ended, self._minute = self._minute, StepMinute(at)
        if not ended.words:
            return
        log.warning("%s", ended.words, extra={"fields": ended.figures})
        self._trail().note(Record(at=now(), kind="summary", verb="detection.steps", figures=ended.figures))

    def end(self) -> None:
        self.look(time.monotonic())
        self.sum_up(time.monotonic())

    def stats(self) -> DetectionSnapshot:
        return DetectionSnapshot(self._steps, self._evicted, self.lost)

    def _count(self) -> None:
        try:
            suspicion = self._suspicion()
        except NotNow:  # it starts or ends
            return
        if suspicion is not None:
            self._evicted = suspicion.evicted
            _, self._steps = suspicion.suspects(STEPS[-1], time.monotonic_ns(), 0)

    def _tell(self, event: Event) -> None:
        key, kind, name, model, before, after, cause, evidence, spent, _, trace = event
        known = Known(kind, unquote(name), model)
        self.names.pop(key, None)  # the latest last
        self.names[key] = known
        if len(self.names) > MOST_NAMES:
            del self.names[next(iter(self.names))]
        if not self._minute.takes(key, known, before, after):
            return
        taken = gets(self._config().settings(model).detection, known, after)
        nats = {each: round(value, 1) for each, value in evidence.items()}
        why = f"{nats[cause]:.1f} nats" if cause in nats else f"{spent:.0f} rows today"
        way = "rises" if STEPS.index(after) > STEPS.index(before) else "falls"
        level = logging.WARNING if way == "rises" else logging.INFO
        log.log(
            level,
            "%s %r of model %s %s from %s to %s by %s (%s); it gets: %s",
            kind, known.name, model, way, before, after, cause, why, taken,
            extra={"fields": {"kind": kind, "name": known.name, "model": model, "before": before, "after": after,
                              "gets": taken, "signal": cause, "evidence": nats, "rows": round(spent),
                              "trace_id": trace}},
        )  # fmt: skip
        self._trail().note(
            automatic(
                f"identity.{way}",
                model=model,
                object=f"{kind} {known.name}",
                before={"step": before},
                after={"step": after, "gets": taken},
                figures={"signal": cause, "evidence": nats, "rows": round(spent)}
                | ({"trace_id": trace} if trace else {}),
            )
        )
