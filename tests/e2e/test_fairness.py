"""A busy backend is shared by weight: a caller that floods it takes nothing from those that stay within their share."""

import os
from collections.abc import Mapping

import pytest

from loadtests import fairness
from loadtests.tools import h2load

pytestmark = [
    pytest.mark.skipif(not h2load.installed(), reason=h2load.ABSENT),
    pytest.mark.skipif(
        "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer changes what time is needed"
    ),
]


@pytest.mark.parametrize("weights", [fairness.EQUAL, fairness.WEIGHTED], ids=["equal", "weighted"])
def test_a_flood_takes_nothing_from_those_who_send_their_share(weights: Mapping[str, int]) -> None:
    parts = {part.tenant: part for part in fairness.measure(weights, seconds=2.0)}
    # of what was answered in the same seconds: while other tests run too, a share of the capacity before says little
    whole = sum(part.answered for part in parts.values()) / sum(weights.values())
    flooder = parts.pop(fairness.FLOODER)
    assert flooder.sent > 10 * sum(part.sent for part in parts.values())
    assert all(part.answered > 0.8 * min(part.sent, whole * part.weight) for part in parts.values()), parts
    assert flooder.answered > 0
