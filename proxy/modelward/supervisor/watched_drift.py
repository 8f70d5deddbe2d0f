"""What operators ask of drift: reports, and to take the present as what is usual."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelward.problem import Problem, ProblemsFound
from modelward.status import clip

if TYPE_CHECKING:
    from modelward.supervisor.observing import Observing


class WatchedDrift:
    """at_work: raises NotNow. note: of what operators do: verb, actor, about what."""

    def __init__(
        self, observing: Observing, at_work: Callable[[], object], note: Callable[[str, str, str], None]
    ) -> None:
        self._observing = observing
        self._at_work = at_work
        self._note = note

    async def report(self, model: str) -> Sequence[Mapping[str, Any]]:
        """What modelward.drift.report tells of each version of the model, or of all. Raises ProblemsFound, NotNow."""
        self._at_work()
        return await self._observing.drift(model)

    async def accept(self, model: str, version: str, actor: str = "", pinned: str = "") -> Sequence[tuple[str, str]]:
        """Of which versions. version: empty for all of the model. pinned: the alarms that are meant, empty for those
        that stand now. Raises ProblemsFound where there are none or others, NotNow."""
        self._at_work()
        standing = self.pinned(model, version)
        if pinned not in ("", standing):
            what = "other alarms stand than those that were to be accepted"
            raise ProblemsFound([Problem(what, _where(model, version), how="Look at modelward drift report again")])
        accepted = await asyncio.get_running_loop().run_in_executor(None, self._observing.accept_drift, model, version)
        for name, each in accepted:
            self._note("drift.accept", actor, f"model {name} version {each}")
        return accepted

    def pinned(self, model: str, version: str) -> str:
        """The alarms that stand, as a digest. Raises ProblemsFound where there are none."""
        alarms = self._observing.drift_alarms(model, version)
        if not alarms:
            where = _where(model, version)
            why = "no alarm of its inputs or outputs stands, and without one there is nothing to accept"
            raise ProblemsFound([Problem("nothing has changed", where, why, "See modelward drift report")])
        return f"sha256:{hashlib.sha256(json.dumps(alarms).encode()).hexdigest()}"


def _where(model: str, version: str) -> str:
    return f"model {clip(model)}" + (f" version {clip(version)}" if version else "")
