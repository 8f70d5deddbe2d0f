"""Takes readiness from a server that can answer for none of its models, and gives it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from modelward.models.catalog import Catalog
from modelward.server.readiness import Readiness

log = logging.getLogger("modelward.upstream")

LOOK_SECONDS = 0.5
# a connection that is closed and opened again takes less
LOOKS = 2
REASON = (
    "no model can be answered: each of their upstream servers is out of reach, fails its canary, "
    "or gets no requests by an operator's order"
)

HELD = (
    "no model can be answered: no version of any may answer before one is promoted with the approvals that it needs, "
    "or has a signature that counts"
)


class Answering:
    """One model that can be answered keeps the server ready. ModelReady tells of the others."""

    def __init__(self, catalog: Callable[[], Catalog], readiness: Readiness) -> None:
        self.reason = ""  # why the server is not ready, for as long as it serves
        self._catalog = catalog
        self._readiness = readiness
        self._failed = 0  # looks in a row

    def begin(self) -> None:
        """Once endpoints have had their time to connect."""
        self._failed = LOOKS
        self._set("" if self._answers() else self._why())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        self._failed = 0 if self._answers() else self._failed + 1
        reason = self._why() if self._failed >= LOOKS else ""
        if reason != self.reason:
            self._set(reason)

    def _answers(self) -> bool:
        catalog = self._catalog()
        if not len(catalog):  # an upstream may have no model yet
            return not catalog.held or any(catalog.held.values())
        return any(version.answers() for version in catalog) or any(catalog.held.values())

    def _why(self) -> str:
        return REASON if len(self._catalog()) else HELD

    def _set(self, reason: str) -> None:
        if reason:
            log.warning("not ready: %s", reason)
        elif self.reason:
            log.warning("ready again: a model can be answered")
        self.reason = reason
        self._readiness.set(not reason, reason)
