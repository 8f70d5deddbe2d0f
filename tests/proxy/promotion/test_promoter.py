"""Promotions by hand and by themselves, and taken back."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec

import numpy as np
import pytest

from proxy.config.schema import Config
from proxy.problem import ProblemsFound
from proxy.promotion import state
from proxy.promotion.guard import Arm
from proxy.promotion.promoter import Promoter, Wanted
from tests.proxy.promotion.test_guard import arm
from tests.proxy.promotion.test_outputs import sketch

P = ParamSpec("P")


def on_a_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*arguments: P.args, **keywords: P.kwargs) -> None:
        asyncio.run(test(*arguments, **keywords))

    return run


class Served:
    """A server of two versions of m, as far as promotions see one; and its clock."""

    def __init__(self, **settings: object) -> None:
        self.config = Config.model_validate({"models": {"m": {"versions": {"2": 1}, **settings}}})
        self.counted = {"2": arm(10_000), "3": arm(0)}
        self.verdicts = {("m", "3"): "equivalent"}
        self.against: Mapping[str, int] = {}
        self.shared: dict[str, Mapping[str, int]] = {}
        self.now = 1000.0

    def versions(self, model: str) -> tuple[str, ...]:
        return ("2", "3") if model == "m" else ()

    def arms(self, model: str) -> Mapping[str, Arm]:
        return dict(self.counted)

    def verdict(self, model: str, version: str, shares: Mapping[str, int]) -> str | None:
        self.against = dict(shares)
        return self.verdicts.get((model, version))

    async def share(self, shares: Mapping[str, Mapping[str, int]]) -> None:
        self.shared = dict(shares)

    def answer(self, **more: Arm) -> None:
        for version, arm_ in more.items():
            self.counted[version.removeprefix("v")] += arm_

    def promoter(self, folder: Path) -> Promoter:
        promoter = Promoter(self, folder, lambda: self.now)
        promoter.resume()
        return promoter


@on_a_loop
async def test_a_promotion_by_hand_goes_a_step_each_time_it_is_asked_for(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    seen = []
    for _ in range(3):
        await promoter.promote(Wanted("m", "3", (1, 50, 100)))
        seen.append(served.shared["m"])
    assert seen == [{"2": 9900, "3": 100}, {"2": 5000, "3": 5000}, {"3": 10_000}]
    with pytest.raises(ProblemsFound, match="has all requests already"):
        await promoter.promote(Wanted("m", "3"))


@on_a_loop
async def test_without_steps_it_has_everything_at_once(tmp_path: Path) -> None:
    served = Served()
    await served.promoter(tmp_path).promote(Wanted("m", "3"))
    assert served.shared == {"m": {"3": 10_000}}


@pytest.mark.parametrize("verdict", [None, "undecided", "worse"])
@on_a_loop
async def test_without_a_good_verdict_it_takes_force_and_a_reason_that_is_kept(
    tmp_path: Path, verdict: str | None
) -> None:
    served = Served()
    served.verdicts = {("m", "3"): verdict} if verdict else {}
    promoter = served.promoter(tmp_path)
    with pytest.raises(ProblemsFound, match=r"--force --reason"):
        await promoter.promote(Wanted("m", "3"))
    assert served.shared == {}
    assert state.load(tmp_path).events == ()
    await promoter.promote(Wanted("m", "3", force="incident 7"))
    (event,) = state.load(tmp_path).events
    assert (event.forced, event.why) == (True, "incident 7")


@on_a_loop
async def test_a_version_whose_shadow_turns_worse_is_taken_back(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    served.verdicts["m", "3"] = "undecided"
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping"
    served.verdicts["m", "3"] = "worse"
    await promoter.look()
    assert served.against == {"2": 1}, "those from whom it takes over"
    assert served.shared == {"m": {"2": 1}}
    assert promoter.ended["m", "rolled_back", "shadow"] == 1
    assert "modelward shadow report m 3" in promoter.why("m")


@pytest.mark.parametrize("late", [False, True], ids=["from the start", "at a later step"])
@on_a_loop
async def test_one_that_was_forced_is_not_taken_back_for_its_shadow(tmp_path: Path, *, late: bool) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 20, 100), force="" if late else "incident 7"))
    if late:
        await promoter.promote(Wanted("m", "3", force="incident 7"))
    served.verdicts["m", "3"] = "worse"
    again = served.promoter(tmp_path)  # a restart knows it too
    await again.look()
    assert again.state.promotions["m"].phase == "stepping"


@pytest.mark.parametrize(
    ("model", "version", "steps", "words"),
    [
        ("n", "3", None, "there is no such model"),
        ("m", "9", None, "version 9 is not served; 2, 3 are"),
        ("m", "2", None, "version 2 has all requests already"),
        ("m", "3", (50, 10, 100), "are no steps"),
        ("m", "3", (1, 10), "are no steps"),
    ],
)
@on_a_loop
async def test_what_cannot_be_promoted_is_refused_in_words(
    tmp_path: Path, model: str, version: str, steps: tuple[int, ...] | None, words: str
) -> None:
    served = Served()
    served.verdicts["m", "2"] = "equivalent"
    with pytest.raises(ProblemsFound, match=words):
        await served.promoter(tmp_path).promote(Wanted(model, version, steps))
    assert served.shared == {}


@on_a_loop
async def test_by_itself_it_goes_on_after_time_and_enough_requests(tmp_path: Path) -> None:
    served = Served(promotion={"steps": [10, 100], "hold": "60s", "min_requests": 100})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", auto=True))
    served.now += 61
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 10, "nobody has asked it anything"
    served.answer(v3=arm(200), v2=arm(1800))
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 100
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "the last step is held too"
    served.now += 61
    served.answer(v3=arm(200))
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "done"
    assert served.shared == {"m": {"3": 10_000}}
    assert promoter.ended == {("m", "done", ""): 1}


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
    assert "requests failed" in state.load(tmp_path).events[-1].why
    assert promoter.ended == {("m", "rolled_back", "errors"): 1}


def answered(count: int, *scores: float) -> Arm:
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
    served.answer(v2=answered(9000, *generator.normal(size=600)), v3=answered(999, *generator.normal(9, size=64)))
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "it has not answered enough"
    served.answer(v3=arm(1))
    await promoter.look()
    assert promoter.state.promotions["m"].phase == ("stepping" if bound == "off" else "rolled back")
    if bound != "off":
        assert served.shared == {"m": {"2": 1}}
        assert promoter.ended == {("m", "rolled_back", "outputs"): 1}
        assert "a sample of 64 against one of 600" in state.load(tmp_path).events[-1].why


@on_a_loop
async def test_answers_are_held_against_those_of_the_same_step_and_in_the_last_against_the_one_before(
    tmp_path: Path,
) -> None:
    served = Served(promotion={"min_requests": 100})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 50, 100)))
    by_day, by_night = [1.0] * 500, [50.0] * 500
    served.answer(v2=answered(8000, *by_day), v3=answered(800, *by_day[:50]))
    await promoter.look()
    await promoter.promote(Wanted("m", "3"))
    for _ in range(3):
        served.answer(v2=answered(8000, *by_night), v3=answered(8000, *by_night))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "traffic has changed, for both of them"
    await promoter.promote(Wanted("m", "3"))
    served.answer(v3=answered(8000, *by_night))
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "as the others in the step before"
    served.answer(v3=answered(8000, *[-7.0] * 2000))
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
    await promoter.promote(Wanted("m", "3"))
    for errors in (0, 0, 0, 40):
        served.answer(v3=arm(400, errors=errors * 10))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "rolled back"


@on_a_loop
async def test_rolling_back_by_hand_gives_every_version_what_it_had(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    await promoter.rollback("m")
    assert served.shared == {"m": {"2": 1}}
    assert promoter.ended == {("m", "rolled_back", "asked"): 1}
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


@on_a_loop
async def test_what_was_promoted_is_so_after_a_restart(tmp_path: Path) -> None:
    served = Served()
    await served.promoter(tmp_path).promote(Wanted("m", "3", (10, 100)))
    again = served.promoter(tmp_path)
    assert again.shares == {"m": {"2": 9000, "3": 1000}}
    await again.promote(Wanted("m", "3"))
    assert served.shared == {"m": {"3": 10_000}}


@on_a_loop
async def test_a_configuration_that_says_something_new_is_obeyed(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    served.config = Served(versions={"2": 5, "3": 5}).config
    assert promoter.shares == {}
    await promoter.look()
    await promoter.promote(Wanted("m", "3"))
    assert served.shared == {"m": {"3": 10_000}}


@on_a_loop
async def test_a_state_that_cannot_be_written_begins_nothing_and_still_takes_back(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path / "state")
    await promoter.promote(Wanted("m", "3", (10, 100)))
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    (tmp_path / "state").rmdir()
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(ProblemsFound, match="cannot be written"):
        await promoter.promote(Wanted("m", "3"))
    assert served.shared == {"m": {"2": 9000, "3": 1000}}
    with pytest.raises(ProblemsFound, match="cannot be written"):
        await promoter.rollback("m")
    assert served.shared == {"m": {"2": 1}}
