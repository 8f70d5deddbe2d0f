"""The shadows of a server's models, judged from what all workers have counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelward.admin.operator import NotNow
from modelward.config.schema import Config
from modelward.config.shadow import Bounds, Shadow
from modelward.models.weights import overridden, primary
from modelward.problem import Problem, ProblemsFound
from modelward.server.report import ANY
from modelward.shadow.finding import Verdict
from modelward.shadow.pairs import Pairs, essence
from modelward.shadow.verdict import verdict_of
from modelward.supervisor.worker_pool import WorkerPool
from modelward.telemetry.snapshot import ShadowSnapshot
from modelward_native.shadow import shadows

if TYPE_CHECKING:
    from modelward_native.shadow.shadows import Slices
    from modelward_native.shadow.stats import Stats

# at every scrape, at 1 to 2 ms each: the loop also answers probes
JUDGED_AT_ONCE = 4

Key = tuple[str, str, str]  # model, version of the primary, name of the shadow


class ShadowVerdicts:
    """pool: None before there is one."""

    def __init__(self, config: Callable[[], Config], pool: Callable[[], WorkerPool | None]) -> None:
        self._config = config
        self._pool = pool
        self.others: Callable[[Key, str], Sequence[Pairs]] = lambda key, files: ()
        """What other servers of a fleet have counted of a shadow with these files."""
        self._verdicts: dict[Key, Verdict] = {}  # of those that are counted; who was judged last comes last

    def snapshots(self) -> dict[Key, ShadowSnapshot]:
        """The verdicts on all shadows, of which at most JUDGED_AT_ONCE are judged again: those judged longest ago."""
        pool = self._pool()
        counted = shadows.totals(pool.region) if pool is not None else {}
        bounds = {key: bounds for key in counted if (bounds := self._bounds(key[0]).get(key[2])) is not None}
        before = {key: verdict for key, verdict in self._verdicts.items() if key in bounds}
        waiting = [*(key for key in bounds if key not in before), *before]
        again = {key: self._judged(key, counted, bounds[key]) for key in waiting[:JUDGED_AT_ONCE]}
        self._verdicts = {**{key: verdict for key, verdict in before.items() if key not in again}, **again}
        return {key: ShadowSnapshot(verdict=_flags(verdict)) for key, verdict in self._verdicts.items()}

    async def told(self, model: str) -> Sequence[Mapping[str, Any]]:
        """What modelward.shadow.report tells of each shadow of a served model.

        Raises ProblemsFound where there is none, NotNow while no worker is ready.
        """
        pool, configured, served = self._pool(), self._configured(model), self._served(model)
        if pool is None or pool.report is None:
            raise NotNow("no worker is ready; ask again in a moment")
        if not served:
            raise _none(model, "there is no such model", "Look at modelward status for those that there are")
        if not configured:
            raise _none(model, "it has no shadow", f"Set models.{model}.shadow, for instance to {{version: ...}}")
        version = primary(served, overridden(self._config(), pool.shares, pool.report.versions).get(model))
        answering = "" if version == ANY else version  # as stats call it
        counted = shadows.shadows(pool.region, model)
        told = await asyncio.get_running_loop().run_in_executor(None, _facts, counted, configured, answering)
        digests = {number: each.digest for number, each in pool.report.facts.get(model, {}).items()}
        return [each | _digests(each, digests) for each in told]

    def verdict(self, model: str, version: str, shares: Mapping[str, int]) -> Verdict | None:
        """On the shadow that this version is of the other one with the largest of the shares; None where it is none."""
        pool, bounds = self._pool(), self._bounds(model).get(version)
        others = [other for other in self._served(model) if other != version]
        if pool is None or bounds is None or not others:
            return None
        key = (model, primary(others, shares), version)
        elsewhere = self.others(key, self._files(key))
        if elsewhere and (own := self._pairs(key)) is not None:
            total = sum(elsewhere, start=own)
            of_callers, itself = [*total.callers.values()], key[1] == version
            return verdict_of(total.total, bounds, floor=total.floor, itself=itself, callers=of_callers)
        counted = shadows.totals(pool.region)
        return self._judged(key, counted, bounds) if key in counted else Verdict.UNDECIDED

    def pairs(self, most: int) -> dict[Key, Pairs]:
        """Of the configured shadows, what this server has counted; of at most so many."""
        pool = self._pool()
        keys = shadows.totals(pool.region) if pool is not None else {}
        wanted = sorted(key for key in keys if key[2] in self._bounds(key[0]))[:most]
        return {key: pairs for key in wanted if (pairs := self._pairs(key)) is not None}

    def _pairs(self, key: Key) -> Pairs | None:
        pool, (model, version, name) = self._pool(), key
        counted = shadows.shadows(pool.region, model) if pool is not None else {}
        if key not in counted:
            return None
        own, floor = counted[key], None if name == version else counted.get((model, version, version))
        callers = {part: essence(stats.sums()) for part, stats in own.parts.items()}
        noise = essence(floor.total.sums()) if floor is not None else None
        return Pairs(essence(own.total.sums()), noise, callers, self._files(key))

    def _files(self, key: Key) -> str:
        """Digests of the files of both sides; empty on upstreams."""
        pool = self._pool()
        facts = pool.report.facts.get(key[0], {}) if pool is not None and pool.report is not None else {}
        return " ".join(facts[each].digest if each in facts else "" for each in key[1:])

    def _served(self, model: str) -> Sequence[str]:
        """Its versions, ascending."""
        pool = self._pool()
        report = pool.report if pool is not None else None
        return report.versions.get(model, ()) if report is not None else ()

    def _configured(self, model: str) -> Sequence[Shadow]:
        return self._config().settings(model).shadow

    def _judged(self, key: Key, counted: Mapping[Key, Stats], bounds: Bounds) -> Verdict:
        model, version, name = key
        itself = name == version
        floor = None if itself else counted.get((model, version, version))
        noise, pool = floor.sums() if floor is not None else None, self._pool()
        callers = [each.sums() for each in shadows.callers(pool.region, *key)] if pool is not None else []
        return verdict_of(counted[key].sums(), bounds, floor=noise, itself=itself, callers=callers)

    def _bounds(self, model: str) -> dict[str, Bounds]:
        return {shadow.name: shadow.bounds for shadow in self._configured(model)}


def _flags(verdict: Verdict) -> dict[str, int]:
    return {str(each): int(each is verdict) for each in Verdict}


def _facts(counted: Mapping[Key, Slices], configured: Sequence[Shadow], answering: str) -> list[dict[str, Any]]:
    from modelward.shadow.collect import reports  # noqa: PLC0415 - brings numpy, 20 MB: only where somebody asks
    from modelward.shadow.report import data  # noqa: PLC0415

    return [data(report) for report in reports(counted, configured, answering)]


def _digests(report: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str | None]:
    """Of both sides' files (modelward.integrity.digest), where they are known: None on upstreams."""
    return {"primary_digest": known.get(report["primary"]), "shadow_digest": known.get(report["shadow"])}


def _none(model: str, what: str, how: str) -> ProblemsFound:
    return ProblemsFound([Problem(what, f"model {model}", how=how)])
