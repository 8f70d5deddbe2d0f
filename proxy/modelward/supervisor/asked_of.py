"""What was asked for, as the parts of the server take it that do it."""

from __future__ import annotations

from modelward.approvals.proposal import Ask
from modelward.promotion.asked import Wanted
from modelward.upstream.breaker_override import BreakerOrder


def order_of(ask: Ask) -> BreakerOrder:
    asked = ask.parameters
    return BreakerOrder(ask.model, asked.endpoint, asked.action or "auto", asked.seconds, ask.reason)


def wanted_of(ask: Ask) -> Wanted:
    asked = ask.parameters
    return Wanted(
        ask.model,
        ask.version,
        steps=asked.steps,
        auto=asked.auto,
        force=asked.force,
        reason=ask.reason,
        without=asked.without,
        percent=asked.percent,
    )
