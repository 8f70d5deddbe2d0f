"""What has become of reloads: told in the log, counted for /metrics."""

import logging
from collections.abc import Sequence

from modelward.plural import counted
from modelward.problem import Problem
from modelward.telemetry.snapshot import ReloadSnapshot

log = logging.getLogger("modelward.reload")


class Reloads:
    """Of one process."""

    def __init__(self) -> None:
        self.applied = 0
        self.partial = 0
        self.refused = 0
        self._failing = False
        self._told: Sequence[Problem] = ()

    def apply(self, changed: Sequence[str], restart: Sequence[str], problems: Sequence[Problem] = ()) -> None:
        """changed: in words. restart: keys that differ and stay as they are. problems: of models that were refused; the
        log has them already. They are told by their own metric, so that one broken file is one alert."""
        self._failing = False
        self.applied += not problems
        self.partial += bool(problems)
        self._told = problems
        fields = {"fields": {"changed": [*changed]}}
        if problems and not changed:
            log.warning("reload refused: nothing changed", extra=fields)
        else:
            log.info("reloaded: %s", ", ".join(changed) or "nothing changed", extra=fields)
        if restart:
            log.warning("%s: changed only by a restart; what the server began with stays", ", ".join(restart))

    def refuse(self, problems: Sequence[Problem]) -> None:
        """Everything stays as it was. One line for each problem, and one for all that were told the last time."""
        self.refused += 1
        self._failing = True
        if list(problems) == list(self._told):
            log.error("not reloaded, for the same %s as before", counted(len(problems), "problem"))
        else:
            for problem in problems:
                log.error(
                    "not reloaded: %s", problem, extra={"fields": {"reason": problem.what, "where": problem.where}}
                )
        self._told = problems

    def stats(self) -> ReloadSnapshot:
        return ReloadSnapshot(self.applied, self.refused, int(self._failing), self.partial)
