"""What operators have set on a running server for a time."""

from __future__ import annotations

from msgspec import Struct

from modelward.limits.temporary import TemporaryLimit
from modelward.upstream.breaker_override import BreakerOverride


class Override(Struct, frozen=True):
    """Limits in place of the configured ones, and breakers that are held open or closed. What is not named is as
    configured. The supervisor tells it to workers, which answer with Shared (modelward.server.channel)."""

    limits: tuple[TemporaryLimit, ...] = ()
    breakers: tuple[BreakerOverride, ...] = ()


NOTHING = Override()
