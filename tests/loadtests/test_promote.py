"""A small edition of the promotions under load: the same server, clients and bars, with fewer and shorter steps.

What they count has the bars of the full run. The time to a rollback has not, which a busy machine makes longer: instead
the requests that are hit before it are counted, as many as there would be in that time.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from loadtests import promote
from loadtests.promote import Outcome, Pace

PACE = Pace(steps=(50, 100), hold=1.0, settled=1.0, after=0.5)

pytestmark = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer changes what time is needed"
)


def judge(outcome: Outcome) -> None:
    assert outcome.requests > 0
    counted = [bar for bar in promote.bars(outcome, PACE.steps) if not bar.name.endswith(promote.TO_ROLLBACK)]
    assert [str(bar) for bar in counted if not bar.reached] == []
    assert outcome.hit <= promote.ROLLBACK_SECONDS * promote.PER_SECOND * outcome.percent / 100


def test_a_good_version_takes_over_by_itself_and_goes_by_hand_and_no_request_fails() -> None:
    promoted, rolled_back = asyncio.run(promote.by_itself(PACE))
    assert [step.percent for step in promoted.steps] == list(PACE.steps)
    assert promoted.reloads > 0
    judge(promoted)
    judge(rolled_back)


def test_a_version_that_begins_to_fail_hits_its_share_for_seconds_and_the_fallback_answers_all_of_it() -> None:
    judge(asyncio.run(promote.failing(PACE, fallback=True)))
