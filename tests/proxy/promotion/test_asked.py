"""What is told where a promotion is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.models.facts import Facts
from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from tests.proxy.promotion.test_promoter import Served, on_a_loop


@on_a_loop
async def test_another_version_is_told_how_to_end_the_promotion_under_way(tmp_path: Path) -> None:
    served = Served()
    served.held["4"] = Facts("four", profile=True, canary=True)
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100), force="a test"))
    with pytest.raises(ProblemsFound, match=r"version 3 is being promoted at 10 %.*Go on with it, or take it back"):
        await promoter.promote(Wanted("m", "4", (100,), force="a test"))
    await promoter.promote(Wanted("m", "3", force="a test"))
    with pytest.raises(ProblemsFound, match="promote m 3 --force --reason TEXT ends it with 100 %"):
        await promoter.promote(Wanted("m", "4", (100,), force="a test"))
    ended = await promoter.promote(Wanted("m", "3", force="few requests come"))
    assert (ended.phase, ended.percent) == ("done", 100)
    assert (await promoter.promote(Wanted("m", "4", (10, 100), force="a test"))).before == {"3": 10_000}
