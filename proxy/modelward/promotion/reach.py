"""Whether the callers that were seen can bring a step its share, where each of them gets one version."""

from __future__ import annotations

import math

from modelward.config.promotion import PromotionSettings
from modelward.config.schema import Config
from modelward.problem import Problem
from modelward.promotion.finding import Decision, Finding
from modelward.promotion.step import FEWEST_EXPECTED, Traffic


def out_of_reach(model: str, percent: int, callers: int) -> tuple[str, str] | None:
    """What is wrong, and how to mend it; None where there are callers enough, or none is known."""
    if not 0 < callers < 100 / percent:
        return None
    what = f"{callers} caller{'' if callers == 1 else 's'} so far: {percent} % of them may be none"
    enough = math.ceil(100 / callers)
    larger = f", or roll back and promote with larger steps: --steps {enough},100" if enough < 100 else ""
    return what, f"Set models.{model}.promotion.by to request and reload{larger}"


def reached(model: str, percent: int, seen: Traffic, settings: PromotionSettings) -> Finding | None:
    """What is told of the requests of a step in which so few callers have brought none."""
    few = out_of_reach(model, percent, seen.callers)
    if few is None or settings.by != "caller" or seen.requests or seen.total < FEWEST_EXPECTED:
        return None
    words = f"none of {seen.total} requests in this step, {few[0]}"
    return Finding("traffic", Decision.UNDECIDED, words, 0, settings.min_requests, few[1])


def too_few(config: Config, model: str, percent: int, callers: int) -> list[Problem]:
    """Whether these callers, 0 for many, are too few for such a share."""
    by_request = config.settings(model).promotion.by == "request"
    if config.access is None or config.sticky_header is not None or by_request:
        return []  # nothing is tied, or not to callers
    few = out_of_reach(model, percent, callers)
    if few is None:
        return []
    what, how = few
    return [Problem(what, f"model {model}", "a version is given by caller", how)]
