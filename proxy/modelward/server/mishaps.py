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
        self._said = {True: -PERIOD_SECONDS, False: -PERIOD_SECONDS}  # by whether it is known what causes it
        self._left_out = {True: 0, False: 0}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not any(key in context for key in OF_CONNECTIONS):
            loop.default_exception_handler(context)
            return
        error, now = context.get("exception"), self._now()
        # strangers' bytes cause these within the loop's TLS; anything else is a fault of ours, and told with its place
        known = isinstance(error, OSError | ValueError)
        if now - self._said[known] < PERIOD_SECONDS:
            self._left_out[known] += 1
            return
        more = f"; {self._left_out[known]} more since the last such line" if self._left_out[known] else ""
        self._said[known], self._left_out[known] = now, 0
        log.log(
            logging.WARNING if known else logging.ERROR,
            "a connection was given up: %s: %s%s",
            context.get("message"),
            type(error).__name__,
            more,
            exc_info=None if known else error,
        )
