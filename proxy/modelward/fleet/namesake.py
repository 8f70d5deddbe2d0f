"""Whether another server of the fleet has the same name: then each overwrites what the other says and has counted."""

from __future__ import annotations

import logging
import time
from math import inf

from modelward.fleet.note import decoded
from modelward.fleet.record import Malformed

SEEN_SECONDS = 15.0
"""Three times the longest interval at which a server speaks: one that is not seen for so long is gone."""
LOG_SECONDS = 60.0

log = logging.getLogger("modelward.fleet")


class Namesake:
    """identity: of this process, which its note has. There is another one where the last word under this name is not
    this server's own, although it has spoken: a server that had the name before does not speak any more."""

    def __init__(self, replica: str, identity: str) -> None:
        self._replica = replica
        self._identity = identity
        self._spoke = False
        self._seen = self._logged = -inf  # monotonic seconds

    def look(self, said: bytes) -> None:
        """said: the note under this name before this server's last one; empty for none."""
        spoke, self._spoke = self._spoke, True
        if not spoke or not said:
            return
        try:
            identity = decoded(said).identity
        except Malformed:
            return
        if not identity or identity == self._identity:
            return
        self._seen = now = time.monotonic()
        if now - self._logged >= LOG_SECONDS:
            self._logged = now
            what = "another server of the fleet is called %s too: what both say and count takes turns; %s"
            log.error(what, self._replica, "set fleet.replica to another name on each")

    @property
    def is_there(self) -> bool:
        return time.monotonic() - self._seen < SEEN_SECONDS

    @property
    def words(self) -> str:
        """Empty without one."""
        return f"; another server is called {self._replica} too: set fleet.replica" if self.is_there else ""
