"""A caller that floods ends no step, and an outage while shares change takes no version back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelward.config.promotion import PromotionBounds
from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.decide import findings
from modelward.promotion.finding import Decision
from modelward.promotion.guard import Arm
from modelward_native.shadow.evidence import CHANCE, KEY
from tests.proxy.promotion.arms import Caller, by_caller, caller
from tests.proxy.promotion.served import Served, on_a_loop
from tests.proxy.promotion.test_guard import arm

BOUNDS = PromotionBounds()
OFF = PromotionBounds.model_validate({"outputs": "off"})


def of(*callers: Caller, way: int = CHANCE) -> Arm:
    return by_caller(*callers, way=way)


def kept(candidate: Arm, incumbent: Arm, bounds: PromotionBounds = OFF) -> list[str]:
    return [each.bound for each in findings(candidate, incumbent, bounds) if each.decision is Decision.KEPT]


@pytest.mark.parametrize("way", [CHANCE, KEY])
def test_a_caller_that_floods_ends_no_step(way: int) -> None:
    honest, others, flood = [caller(2)] * 40, [caller(1000)] * 40, caller(100_000)
    assert kept(of(*honest, way=way), of(*others, way=way), BOUNDS) == []
    flooded = of(*honest, flood, way=way), of(*others, flood, way=way)
    assert kept(*flooded, BOUNDS) == []
    for each in findings(*flooded, OFF):
        assert each.answers <= 2 * 40, "what is foreseen counts the others' requests"


@pytest.mark.parametrize(("callers", "liars"), [(3, 1), (19, 1), (40, 4), (64, 6)])
@pytest.mark.parametrize("requests", [1000, 100_000])
def test_a_tenth_of_the_callers_keep_no_bound_that_the_others_break(callers: int, liars: int, requests: int) -> None:
    """What they send there goes well, and what they send elsewhere fails or is slow, so that more is allowed."""
    honest, lies = callers - liars, [caller(requests)] * liars
    others = [caller(9000)] * honest
    bad = caller(930, 20, replaced=20, slow=30)
    worse = [caller(requests, requests, replaced=requests, slow=requests)] * liars
    assert kept(of(*[bad] * honest, *lies), of(*others, *worse)) == []


def test_honest_callers_end_a_step_that_one_of_them_sends_most_of() -> None:
    here, there = [caller(200)] * 20, [caller(1800)] * 20
    assert kept(of(*here, caller(20_000)), of(*there, caller(180_000))) == ["errors", "fallbacks", "latency"]


def test_a_version_at_its_bound_is_called_kept_by_chance_alone_however_much_one_caller_sends() -> None:
    """Looked at all along; callers differ in how much they send. One floods, and nothing of it fails."""
    generator = np.random.default_rng(5)
    wrong, promotions, callers = 0, 30, 20
    there = of(*[caller(5000)] * (callers + 1))
    for _ in range(promotions):
        rates, good, failed = generator.uniform(5, 40, callers), np.zeros(callers, int), np.zeros(callers, int)
        for look in range(1, 7):
            more = generator.poisson(rates)
            bad = generator.binomial(more, BOUNDS.errors)
            good, failed = good + more - bad, failed + bad
            sent = [caller(*each) for each in zip(good.tolist(), failed.tolist(), strict=True)]
            if "errors" in kept(of(*sent, caller(look * 5000)), there):
                wrong += 1
                break
    assert wrong <= 0.1 * promotions


@on_a_loop
async def test_the_fewest_requests_of_a_step_are_not_one_callers(tmp_path: Path) -> None:
    served = Served(promotion={"min_requests": 1000, "bounds": {"outputs": "off"}})
    served.counted = {"2": of(caller(9)), "3": of(caller(0))}
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (50, 100)))
    served.answer(v2=of(*[caller(90)] * 10, caller(50_000)), v3=of(*[caller(90)] * 10, caller(50_000)))
    await promoter.look()
    [traffic] = [each for each in promoter.known("m").findings if each.bound == "traffic"]
    assert (traffic.decision, traffic.answers, traffic.needed) == (Decision.UNDECIDED, 900, 1000)
    assert "without the callers that send most" in str(traffic)


def callers_of(generator: np.random.Generator, count: int, failing: float) -> Arm:
    """Requests of ten callers, of which a share fails whichever version answers."""
    failed = generator.binomial(count // 10, failing, size=10)
    return of(*[caller(count // 10 - f, f) for f in failed.tolist()])


@on_a_loop
async def test_an_outage_in_a_larger_step_does_not_weigh_on_the_version(tmp_path: Path) -> None:
    """Both versions fail alike. Over both steps the new one has failed more, as it had more of what failed."""
    for seed in range(5):
        generator = np.random.default_rng(seed)
        served = Served(promotion={"bounds": {"outputs": "off"}})
        served.counted = {"2": of(caller(9)), "3": of(caller(0))}
        promoter = served.promoter(tmp_path / str(seed))
        await promoter.promote(Wanted("m", "3", (10, 50, 100)))
        for _ in range(8):
            served.answer(v2=callers_of(generator, 900, 0.001), v3=callers_of(generator, 100, 0.001))
            await promoter.look()
        await promoter.promote(Wanted("m", "3", force="a test"))
        for failing in (0.5, 0.5, 0.5, 0.0, 0.0):
            served.answer(v2=callers_of(generator, 500, failing), v3=callers_of(generator, 500, failing))
            await promoter.look()
            assert promoter.state.promotions["m"].phase == "stepping", promoter.state.events[-1].why


@on_a_loop
async def test_what_a_step_has_shown_is_found_before_the_next_one_begins(tmp_path: Path) -> None:
    """Figures begin again with a step: no operator goes on just before a look would have found that it does worse."""
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    served.answer(v3=arm(200, errors=100), v2=arm(1800))
    with pytest.raises(ProblemsFound, match="taken back"):
        await promoter.promote(Wanted("m", "3", force="it looks fine"))
    assert promoter.ended == {("m", "rolled_back", "errors"): 1}
    assert served.shared == {"m": {"2": 1}}
