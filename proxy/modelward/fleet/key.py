"""The key by which all servers of a fleet give callers their versions: that of the first one that came."""

from __future__ import annotations

import logging
import time
from math import inf

from modelward.fleet.record import Malformed

log = logging.getLogger("modelward.fleet")

NAME = "key"
LOG_SECONDS = 60.0


def decoded(data: bytes, size: int) -> bytes:
    """Raises Malformed."""
    try:
        key = bytes.fromhex(data.decode("ascii"))
    except ValueError as error:
        raise Malformed(str(error)) from error
    if len(key) != size:
        raise Malformed(f"it has {len(key)} bytes in place of {size}")
    return key


class KeptKey:
    """A part of what a fleet shares (modelward.fleet.member): a store that has lost it gets it back. What is in use
    changes at a start alone."""

    name = NAME

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._logged = -inf

    def look(self) -> None:
        return

    async def reconcile(self, data: bytes | None) -> bytes | None:
        if data is None:
            return self._key.hex().encode()
        if decoded(data, len(self._key)) != self._key and time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            log.error("the fleet has another key: callers get other versions from this server until it is restarted")
        return None
