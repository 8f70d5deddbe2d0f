"""Promotions that are taken back, by themselves where a version does worse, and by hand."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.guard import Arm
from tests.proxy.promotion.served import Served, on_a_loop, saved
from tests.proxy.promotion.test_guard import arm
from tests.proxy.promotion.test_outputs import sketch


@on_a_loop
async def test_a_version_that_fails_is_taken_back_at_the_next_looks(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    for _ in range(20):
        served.answer(v3=arm(100), v2=arm(900))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping"
    for _ in range(2):
        served.answer(v3=arm(40, errors=40), v2=arm(360))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "rolled back"
    assert served.shared == {"m": {"2": 1}}
    assert "requests failed" in saved(tmp_path).events[-1].why
    assert promoter.ended == {("m", "rolled_back", "errors"): 1}


def scored(count: int, *scores: float) -> Arm:
    """With as many sampled answers as there are scores."""
    return replace(arm(count), outputs=sketch(*scores), callers=(len(scores) // 64 + 1,) * 64)


@pytest.mark.parametrize("bound", [0.25, "off"])
@on_a_loop
async def test_a_version_whose_answers_have_moved_is_taken_back_once_it_has_answered_enough(
    tmp_path: Path, bound: object
) -> None:
    served = Served(promotion={"min_requests": 1000, "bounds": {"outputs": bound}})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    generator = np.random.default_rng(6)
    served.answer(v2=scored(9000, *generator.normal(size=600)), v3=scored(999, *generator.normal(9, size=64)))
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "it has not answered enough"
    served.answer(v3=arm(1))
    await promoter.look()
    assert promoter.state.promotions["m"].phase == ("stepping" if bound == "off" else "rolled back")
    if bound != "off":
        assert served.shared == {"m": {"2": 1}}
        assert promoter.ended == {("m", "rolled_back", "outputs"): 1}
        assert "a sample of 64 against one of 600" in saved(tmp_path).events[-1].why


@on_a_loop
async def test_answers_are_held_against_those_of_the_same_step_and_in_the_last_against_the_one_before(
    tmp_path: Path,
) -> None:
    served = Served(promotion={"min_requests": 100})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 50, 100)))
    by_day, by_night = [1.0] * 500, [50.0] * 500
    served.answer(v2=scored(8000, *by_day), v3=scored(800, *by_day[:50]))
    await promoter.look()
    await promoter.promote(Wanted("m", "3", force="a test"))
    for _ in range(3):
        served.answer(v2=scored(8000, *by_night), v3=scored(8000, *by_night))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "traffic has changed, for both of them"
    await promoter.promote(Wanted("m", "3", force="a test"))
    served.answer(v3=scored(8000, *by_night))
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "as the others in the step before"
    served.answer(v3=scored(8000, *[-7.0] * 2000))
    await promoter.look()
    assert promoter.ended == {("m", "rolled_back", "outputs"): 1}


@on_a_loop
async def test_where_all_versions_fail_alike_nothing_is_taken_back(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    for _ in range(20):
        served.answer(v3=arm(40, errors=40), v2=arm(360, errors=360))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping"


@on_a_loop
async def test_a_version_that_has_everything_and_fails_is_taken_back_too(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (100,)))
    for errors in (0, 0, 0, 40):
        served.answer(v3=arm(400, errors=errors * 10))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "rolled back"


@on_a_loop
async def test_rolling_back_by_hand_gives_every_version_what_it_had(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    await promoter.rollback("m", "incident 8", "alice")
    assert served.shared == {"m": {"2": 1}}
    assert promoter.ended == {("m", "rolled_back", "asked"): 1}
    event = saved(tmp_path).events[-1]
    assert (event.what, event.why, event.actor) == ("rolled back", "incident 8", "alice")
    with pytest.raises(ProblemsFound, match="rolled back already"):
        await promoter.rollback("m")


@on_a_loop
async def test_without_a_promotion_rolling_back_leads_to_the_next_older_version(tmp_path: Path) -> None:
    served = Served(versions={"3": 1})
    promoter = served.promoter(tmp_path)
    await promoter.rollback("m")
    assert served.shared == {"m": {"2": 1}}
    with pytest.raises(ProblemsFound, match="rolled back already"):
        await promoter.rollback("m")
