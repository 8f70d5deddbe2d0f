"""Who is how suspicious, from the table that all workers share."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelward.config.schema import Config
from modelward.detect.suspects import Suspects, suspect
from modelward.supervisor.restrictions import Restrictions


class Suspected:
    """What operators are told of identities. Names are known of those that operators hold."""

    def __init__(self, restrictions: Restrictions, config: Callable[[], Config]) -> None:
        self._restrictions = restrictions
        self._config = config

    def suspects(self, least: str, most: int, model: str = "") -> Suspects:
        """Identities whose step is at least this. model: of this one alone; empty for all. Those that operators hold
        and that have not asked are told as restrictions alone. Raises NotNow. Up to 20 ms for a million identities."""
        watched, restrictions = self._restrictions.watched(), (*self._restrictions.restrictions.values(),)
        suspicion = self._restrictions.suspicion()
        if suspicion is None:
            return Suspects()
        now = time.monotonic_ns()
        records, steps = suspicion.suspects(least, now, suspicion.capacity if model else most)
        known = self._restrictions.known()
        asked = [(record, known.get(record["key"])) for record in records if not record["pinned"] or record["distinct"]]
        found = [
            suspect(record, whose, self._config().settings(whose.model).detection if whose is not None else None)
            for record, whose in asked
            if not model or (whose is not None and whose.model == model)
        ]
        return Suspects(found[:most], steps, watched, restrictions, suspicion.evicted)
