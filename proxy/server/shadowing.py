"""The shadows of a server's models, judged from what all workers have counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from native import shadows
from proxy.config.schema import Config
from proxy.config.shadow import Shadow
from proxy.problem import Problem, ProblemsFound
from proxy.server.crew import Crew
from proxy.server.report import COLUMNS

if TYPE_CHECKING:
    from native.shadows import Slices
    from proxy.shadow.collect import Key

MODEL = COLUMNS.index("model")


class CrewShadows:
    """crew: None before there is one."""

    def __init__(self, config: Callable[[], Config], crew: Callable[[], Crew | None]) -> None:
        self._config = config
        self._crew = crew

    async def told(self, model: str) -> Sequence[Mapping[str, Any]]:
        """What proxy.shadow.report tells of each shadow of a served model. Raises ProblemsFound where there is none."""
        crew, configured = self._crew(), self._configured(model)
        report = crew.report if crew is not None else None
        if crew is None or report is None or model not in {row[MODEL] for row in report.rows}:
            raise _none(model, "there is no such model", "Look at modelward status for those that there are")
        if not configured:
            raise _none(model, "it has no shadow", f"Set models.{model}.shadow, for instance to {{version: ...}}")
        counted = shadows.shadows(crew.region, model)
        return await asyncio.get_running_loop().run_in_executor(None, _facts, counted, configured)

    def _configured(self, model: str) -> Sequence[Shadow]:
        return getattr(self._config().settings(model), "shadow", ())


def _facts(counted: Mapping[Key, Slices], configured: Sequence[Shadow]) -> list[dict[str, Any]]:
    from proxy.shadow.collect import reports  # noqa: PLC0415 - brings numpy, 20 MB: only where somebody asks
    from proxy.shadow.report import data  # noqa: PLC0415

    return [data(report) for report in reports(counted, configured)]


def _none(model: str, what: str, how: str) -> ProblemsFound:
    return ProblemsFound([Problem(what, f"model {model}", how=how)])
