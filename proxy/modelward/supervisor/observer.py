"""Looks at a server for its audit trail: what it decided since the last look, and once a minute what was counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from modelward.audit.recorder import Recorder
from modelward.limits.callers import counted_by_caller, most
from modelward.limits.shared import SharedLimits
from modelward.server.report import Report
from modelward.supervisor.decisions import Seen, Shadow, Version, differences, versions_of
from modelward.supervisor.minutes import Counted, refused_callers, summaries
from modelward.supervisor.shadow_verdicts import ShadowVerdicts
from modelward.supervisor.worker_pool import WorkerPool
from modelward.telemetry.snapshot import Snapshot
from modelward_native.shadow import shadows
from modelward_native.telemetry import stats

log = logging.getLogger("modelward.audit")

LOOK_SECONDS = 1.0
JUDGE_SECONDS = 10.0  # shadows: a verdict takes the loop 1 to 2 ms
MINUTE_SECONDS = 60.0
LOG_SECONDS = 60.0
COMPARED = ("compared", "disagreeing", "primary_failed", "shadow_failed")
MOST_CALLERS = 1000


class Observer:
    """Run `watch`, and `end` at the end. failures: looks that raised."""

    def __init__(
        self, recorder: Recorder, pool: WorkerPool, shadowing: ShadowVerdicts, shared: Callable[[], SharedLimits | None]
    ) -> None:
        self._recorder = recorder
        self._pool = pool
        self._shadowing = shadowing
        self._shared = shared
        self.failures = 0
        self._seen = Seen()
        self._report: Report | None = None
        self._served: Mapping[Version, str] = self._seen.versions
        self._counted = Counted()
        self._judged_at = self._minute_at = time.monotonic()

    async def watch(self) -> None:
        """For ever."""
        logged = -LOG_SECONDS
        while True:
            try:
                self.look(time.monotonic())
            except Exception:
                self.failures += 1
                if (now := time.monotonic()) - logged >= LOG_SECONDS:
                    logged = now
                    log.exception("a look for the audit trail failed")
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, now: float) -> None:
        seen = self._now(now)
        for record in differences(self._seen, seen):
            self._recorder.note(record)
        self._seen = seen
        if now - self._minute_at >= MINUTE_SECONDS:
            self._minute_at = now
            self.sum_up()

    def end(self) -> None:
        """What was counted since the last minute, and opened since the last look. Workers have ended: what else they
        tell is no decision."""
        for record in differences(self._seen, replace(self._seen, unsealed=self._pool.unsealed)):
            self._recorder.note(record)
        self.sum_up()

    def sum_up(self) -> None:
        counted = self._count()
        for record in summaries(self._counted, counted):
            self._recorder.note(record)
        self._counted = counted

    def _now(self, now: float) -> Seen:
        pool, before, told = self._pool, self._seen, self._pool.stats()
        report, shared = pool.report, self._shared()
        verdicts = before.verdicts
        if now - self._judged_at >= JUDGE_SECONDS:
            self._judged_at = now
            verdicts = self._verdicts()
        answers = shared.stats().up if shared is not None else None
        return Seen(
            versions=self._versions(report),
            unsealed=pool.unsealed,
            refused=report.refused if report is not None else before.refused,
            contained=pool.containment.contained,
            failing=frozenset(key for key, workers in stats.failing(pool.region).items() if workers),
            why=pool.canary_causes,
            wrong=frozenset(address for address, each in told.endpoints.items() if each.fails_canary),
            breakers={address: each.breaker for address, each in told.endpoints.items()},
            shared=None if answers is None else bool(answers),
            verdicts=verdicts,
            counters=_counters(told),
            causes=dict(pool.containment.deaths),
        )

    def _versions(self, report: Report | None) -> Mapping[Version, str]:
        """The same object while workers tell the same, which most looks find."""
        if report is not None and report is not self._report:
            found = versions_of(report.facts, report.versions)
            self._report, self._served = report, self._served if found == self._served else found
        return self._served

    def _verdicts(self) -> dict[Shadow, tuple[str, Mapping[str, Any]]]:
        totals = shadows.totals(self._pool.region)
        found: dict[Shadow, tuple[str, Mapping[str, Any]]] = {}
        for key, snapshot in self._shadowing.snapshots().items() if totals else ():
            verdict = next((name for name, is_it in snapshot.verdict.items() if is_it), "undecided")
            sums: Mapping[str, Any] = {**totals[key].sums()} if key in totals else {}
            found[key] = verdict, {name: sums[name] for name in COMPARED if name in sums}
        return found

    def _count(self) -> Counted:
        refusals: dict[str, dict[str, int]] = {}
        anomalies: dict[str, int] = {}
        for (model, _), counted in stats.models(self._pool.region).items():
            of = refusals.setdefault(model or "no model", {})
            for reason, count in counted["refusals"].items():
                of[reason] = of.get(reason, 0) + count
            anomalies[model] = anomalies.get(model, 0) + counted["anomalies"]
        closing = self._pool.stats().close_reasons
        callers = most(self._pool.region, MOST_CALLERS).refused
        closed = {**closing.refused, **closing.closed}
        return Counted(refusals, anomalies, closed, refused_callers(callers), counted_by_caller(self._pool.region))


def _counters(told: Snapshot) -> dict[str, int]:
    """By the verb of their records. Over all workers: each counts a file that it could not use."""
    restarts = told.workers.restarts if told.workers is not None else {}
    counters = {f"worker.{why}": count for why, count in restarts.items() if why != "asked"}
    if told.tls is not None:
        counters |= {"certificate.renewed": told.tls.reloads, "certificate.rejected": told.tls.failed_reloads}
    if told.access is not None:
        counters["keys.rejected"] = told.access.failed_reloads
        if told.access.key_set is not None:
            counters["keys.set_rejected"] = told.access.key_set.failures
            counters["keys.set_changed"] = told.access.key_set.changes
    return counters
