"""A version whose outputs change by themselves does not take over."""

from pathlib import Path

from modelward.drift.cause import Cause
from modelward.promotion.asked import Wanted
from modelward.promotion.finding import Decision
from tests.proxy.promotion.served import Served, enough, on_a_loop, why


async def begun(folder: Path, **drift: object):
    served = Served(drift=drift)
    promoter = served.promoter(folder)
    await promoter.promote(Wanted("m", "3", (50, 100), auto=True))
    enough(served)
    return served, promoter


@on_a_loop
async def test_its_own_change_takes_it_back(tmp_path: Path) -> None:
    served, promoter = await begun(tmp_path)
    served.drifted["m", "3"] = Cause.OWN
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "rolled back" and "its outputs have changed" in why(promoter)


@on_a_loop
async def test_while_it_is_not_clear_whose_change_it_is_the_step_does_not_end(tmp_path: Path) -> None:
    served, promoter = await begun(tmp_path)
    served.drifted["m", "3"] = Cause.UNCLEAR
    served.now += 3600
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 50
    found = {each.bound: each for each in promoter.known("m").findings}
    assert found["drift"].decision is Decision.UNDECIDED
    served.drifted.clear()
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 100


@on_a_loop
async def test_the_world_s_change_does_not_stop_it(tmp_path: Path) -> None:
    served, promoter = await begun(tmp_path)
    served.drifted["m", "3"] = Cause.WORLD
    served.now += 3600
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 100


@on_a_loop
async def test_where_drift_does_not_gate_promotions_it_does_not(tmp_path: Path) -> None:
    served, promoter = await begun(tmp_path, gates_promotions=False)
    served.drifted["m", "3"] = Cause.OWN
    served.now += 3600
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 100
    assert "drift" not in {each.bound for each in promoter.known("m").findings}
