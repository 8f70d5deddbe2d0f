"""What goes wrong on a connection where no code of ours is asked: in an event loop's own callbacks."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

PERIOD_SECONDS = 10.0
# what a loop says of whose fault it is, where a connection is concerned
OF_CONNECTIONS = ("transport", "protocol", "sslproto")

log = logging.getLogger("modelward.connections")


class Mishaps:
    """For `loop.set_exception_handler`. What strangers cause is a line in ten seconds, whatever they send.

    A certificate whose names are no text, for one, is an exception within the loop's TLS.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said = -PERIOD_SECONDS
        self._left_out = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not any(key in context for key in OF_CONNECTIONS):
            loop.default_exception_handler(context)
            return
        now = self._now()
        if now - self._said < PERIOD_SECONDS:
            self._left_out += 1
            return
        error = context.get("exception")
        more = f"; {self._left_out} more since the last such line" if self._left_out else ""
        self._said, self._left_out = now, 0
        log.warning("a connection was given up: %s: %s%s", context.get("message"), type(error).__name__, more)
        log.debug("%s", error, exc_info=error)
