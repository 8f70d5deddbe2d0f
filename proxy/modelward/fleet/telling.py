"""What a server tells its fleet, document by document: one that cannot be told keeps none of the others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable

from modelward.fleet.once import OnceAMinute
from modelward.fleet.record import Record
from modelward.fleet.store import NotTaken, StoreError
from modelward.problem import Problem, ProblemsFound


async def tell(what: str, telling: Awaitable[None], once: OnceAMinute, counts: Counter[str]) -> None:
    """Says why it cannot be told, and counts it as failed. what: in words. Raises StoreError where the store does not
    answer."""
    try:
        await telling
    except NotTaken as error:
        counts["failed"] += 1
        once.say("not taken", logging.ERROR, "the store does not take what this server has of %s: %s", what, error)
    except StoreError as error:
        once.say("not told", logging.ERROR, "the fleet could not be told what this server has of %s: %s", what, error)
        raise


def overtaken(model: str, there: Record) -> ProblemsFound:
    promotion = there.promotion
    now = f"version {promotion.version} is at {promotion.words}" if promotion is not None else "its record has changed"
    what = f"another server of the fleet was first: {now}"
    return ProblemsFound([Problem(what, f"model {model}", how="Look at modelward status, and ask again")])
