"""Promotions by hand and by themselves: steps, what each needs, and force."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from modelward.config.access import Access
from modelward.models.facts import Facts
from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.finding import undecided
from modelward.promotion.state import ITSELF
from modelward.promotion.step import Traffic
from modelward_native.shadow.evidence import CHANCE, KEY
from tests.proxy.promotion.arms import by_caller, caller
from tests.proxy.promotion.served import Served, enough, on_a_loop, saved, why
from tests.proxy.promotion.test_decide import answered
from tests.proxy.promotion.test_guard import arm


@on_a_loop
async def test_a_step_that_was_approved_is_done_once_and_no_further_one_in_its_place(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    for before, after in ((0, 1), (1, 50)):
        approved = Wanted("m", "3", (1, 50, 100) if not before else None, percent=(before, after))
        await promoter.promote(approved)
        assert promoter.state.promotions["m"].percent == after
        enough(served)
        with pytest.raises(ProblemsFound, match=f"and was proposed from {before} to {after} %"):
            await promoter.promote(approved)


@on_a_loop
async def test_a_promotion_by_hand_goes_a_step_each_time_it_is_asked_for(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    seen = []
    for _ in range(3):
        await promoter.promote(Wanted("m", "3", (1, 50, 100)))
        seen.append(served.shared["m"])
        enough(served)
    assert seen == [{"2": 9900, "3": 100}, {"2": 5000, "3": 5000}, {"3": 10_000}]
    await promoter.promote(Wanted("m", "3"))
    assert promoter.state.promotions["m"].phase == "done"
    with pytest.raises(ProblemsFound, match="has all requests already"):
        await promoter.promote(Wanted("m", "3"))


@pytest.mark.parametrize("auto", [False, True])
@on_a_loop
async def test_the_first_step_is_the_first_of_those_that_are_configured(tmp_path: Path, *, auto: bool) -> None:
    served = Served()
    await served.promoter(tmp_path).promote(Wanted("m", "3", auto=auto))
    assert served.shared == {"m": {"2": 9900, "3": 100}}


@on_a_loop
async def test_everything_at_once_is_a_step_of_a_hundred(tmp_path: Path) -> None:
    served = Served()
    await served.promoter(tmp_path).promote(Wanted("m", "3", (100,)))
    assert served.shared == {"m": {"3": 10_000}}


@on_a_loop
async def test_new_steps_take_the_place_of_those_to_come(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 50, 100)))
    enough(served)
    await promoter.promote(Wanted("m", "3", (5, 20, 100)))
    assert promoter.state.promotions["m"].steps == (10, 20, 100)
    assert served.shared["m"]["3"] == 2000
    enough(served)
    with pytest.raises(ProblemsFound, match="are no steps"):
        await promoter.promote(Wanted("m", "3", (30, 40)))
    assert promoter.state.promotions["m"].percent == 20


@on_a_loop
async def test_one_that_is_to_go_on_by_itself_takes_new_steps_and_keeps_its_present_one(tmp_path: Path) -> None:
    served = Served(promotion={"hold": "60s"})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 50, 100)))
    enough(served)
    served.now += 59
    await promoter.promote(Wanted("m", "3", (20, 100), auto=True))
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 10, "its time is not over"
    served.now += 1
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 20, "and has not begun again either"


@on_a_loop
async def test_by_hand_too_a_step_needs_its_bounds_or_force(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 50, 100)))
    served.answer(v2=answered(16_000), v3=answered(320))
    with pytest.raises(ProblemsFound, match=r"(?s)errors: 320 of \d+ answers.*outputs: .*--force --reason TEXT"):
        await promoter.promote(Wanted("m", "3"))
    assert served.shared["m"]["3"] == 1000
    await promoter.promote(Wanted("m", "3", force="incident 7"))
    assert served.shared["m"]["3"] == 5000
    event = saved(tmp_path).events[-1]
    assert (event.what, event.forced, event.why) == ("50 %", True, "incident 7")
    with pytest.raises(ProblemsFound, match="--force"):
        await promoter.promote(Wanted("m", "3"))


@on_a_loop
async def test_only_what_was_forced_is_told_as_that_and_its_reason_stays_with_the_step(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100), force="incident 7", actor="alice"))
    await promoter.promote(Wanted("m", "3", auto=True, actor="bob"))
    event = saved(tmp_path).events[-1]
    assert (event.what, event.actor, event.forced) == ("goes on by itself", "bob", False)
    step = promoter.known("m")
    assert step.event is not None
    assert (step.event.actor, step.event.why, step.promotion.forced) == ("alice", "incident 7", True)
    await promoter.promote(Wanted("m", "3", force="incident 8"))
    enough(served)
    await promoter.promote(Wanted("m", "3"))
    event = saved(tmp_path).events[-1]
    assert (event.what, event.forced) == ("promoted", False)


@pytest.mark.parametrize("verdict", [None, "undecided"])
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
    assert saved(tmp_path).events == ()
    await promoter.promote(Wanted("m", "3", force="incident 7", actor="alice"))
    (event,) = saved(tmp_path).events
    assert (event.forced, event.why, event.actor) == (True, "incident 7", "alice")


@on_a_loop
async def test_no_force_outweighs_a_verdict_that_is_worse(tmp_path: Path) -> None:
    served = Served()
    served.verdicts["m", "3"] = "worse"
    with pytest.raises(ProblemsFound, match="--force does not outweigh"):
        await served.promoter(tmp_path).promote(Wanted("m", "3", force="incident 7"))
    assert served.shared == {}


@pytest.mark.parametrize("force", ["", "incident 7"])
@on_a_loop
async def test_a_version_whose_shadow_turns_worse_is_taken_back_forced_or_not(tmp_path: Path, force: str) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100), force=force))
    served.verdicts["m", "3"] = "undecided"
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping"
    served.verdicts["m", "3"] = "worse"
    await promoter.look()
    assert served.against == {"2": 1}, "those from whom it takes over"
    assert served.shared == {"m": {"2": 1}}
    assert promoter.ended["m", "rolled_back", "shadow"] == 1
    assert "modelward shadow report m 3" in why(promoter)


@on_a_loop
async def test_a_step_waits_for_the_verdict_of_its_shadow_and_force_covers_one_step(tmp_path: Path) -> None:
    served = Served(promotion={"steps": [10, 50, 100], "hold": "1s"})
    served.verdicts["m", "3"] = "undecided"
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", auto=True, force="incident 7"))
    enough(served)
    served.now += 2
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 10
    assert [each.bound for each in undecided(promoter.known("m").findings)] == ["shadow"]
    served.verdicts["m", "3"] = "equivalent"
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 50
    assert not promoter.state.promotions["m"].forced


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
async def test_by_itself_it_goes_on_after_time_and_when_every_bound_is_kept(tmp_path: Path) -> None:
    served = Served(promotion={"steps": [10, 100], "hold": "60s", "min_requests": 100})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", auto=True, actor="alice"))
    served.now += 61
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 10, "it has answered nothing"
    served.answer(v3=answered(320), v2=answered(16_000))
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 10, "too little to know anything"
    enough(served)
    await promoter.look()
    assert promoter.state.promotions["m"].percent == 100
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "stepping", "the last step is held too"
    served.now += 61
    enough(served)
    await promoter.look()
    assert promoter.state.promotions["m"].phase == "done"
    assert served.shared == {"m": {"3": 10_000}}
    assert promoter.ended == {("m", "done", ""): 1}
    told = [(event.what, event.actor) for event in saved(tmp_path).events]
    assert told == [("10 %", "alice"), ("100 %", ITSELF), ("promoted", ITSELF)]


@pytest.mark.parametrize("mean", [0.5, 1.0])
@on_a_loop
async def test_answers_that_have_moved_do_not_go_on_while_it_is_not_sure_that_they_keep_the_bound(
    tmp_path: Path, mean: float
) -> None:
    """An index of 0.3 or 1, of which 0.25 are allowed: enough answers for every other bound."""
    served = Served(promotion={"steps": [10, 100], "hold": "1s", "min_requests": 100})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", auto=True))
    for _ in range(4):
        served.now += 60
        served.answer(v2=answered(9000), v3=answered(800, mean))
        await promoter.look()
        assert promoter.state.promotions["m"].percent == 10, "neither on nor back"
    assert [each.bound for each in undecided(promoter.known("m").findings)] == ["outputs"]


@on_a_loop
async def test_a_share_that_no_caller_brings_is_told_with_the_way_out(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    served.config = served.config.model_copy(
        update={"access": Access.model_validate({"rules": [{"anonymous": True, "models": "*"}]})}
    )
    served.counted = {"2": by_caller(caller(300), caller(300)), "3": arm(0)}
    await promoter.promote(Wanted("m", "3", auto=True))
    (problem,) = promoter.too_few_callers("m")
    assert "2 callers so far" in problem.what
    served.answer(v2=by_caller(caller(3750), caller(3750), way=KEY))
    await promoter.look()
    known = promoter.known("m")
    assert known.traffic == Traffic(0, 7500, 2)
    (traffic,) = [each for each in known.findings if each.bound == "traffic"]
    how = "Set models.m.promotion.by to request and reload, or roll back and promote with larger steps: --steps 50,100"
    assert str(traffic) == (
        "traffic: 0 of 1000 answers, none of 7500 requests in this step, 2 callers so far: 1 % of them may be none. "
        + how
    )
    with pytest.raises(ProblemsFound, match="traffic: 0 of 1000") as refused:
        await promoter.promote(Wanted("m", "3"))
    (problem,) = refused.value.problems
    assert problem.how == f"{how}; or say why it may go on: --force --reason TEXT"


@on_a_loop
async def test_a_few_requests_of_a_few_callers_are_enough_to_tell_it(tmp_path: Path) -> None:
    served = Served(promotion={"by": "caller"})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3"))
    served.answer(v2=by_caller(caller(10), caller(10), way=KEY))
    with pytest.raises(ProblemsFound, match="none of 20 requests in this step, 2 callers so far"):
        await promoter.promote(Wanted("m", "3"))
    served.answer(v3=by_caller(None, None, caller(1), way=KEY))
    with pytest.raises(ProblemsFound, match="errors: ") as refused:
        await promoter.promote(Wanted("m", "3"))
    assert "promotion.by" not in str(refused.value.problems[0].how), "its share comes"


@pytest.mark.parametrize("by", ["caller", "request"])
@on_a_loop
async def test_two_callers_decide_about_outputs_where_versions_are_given_by_request(tmp_path: Path, by: str) -> None:
    served = Served(promotion={"steps": [10, 100], "hold": "1s", "by": by})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", auto=True))
    assert not promoter.too_few_callers("m")
    two = by_caller(caller(8000), caller(8000), way=KEY if by == "caller" else CHANCE)
    served.answer(v2=two, v3=two)
    served.now += 2
    await promoter.look()
    assert promoter.state.promotions["m"].percent == (100 if by == "request" else 10)


@pytest.mark.parametrize("version", ["2", "3"])
@on_a_loop
async def test_another_file_in_a_versions_place_makes_its_evidence_begin_again(tmp_path: Path, version: str) -> None:
    served = Served(promotion={"steps": [10, 50, 100], "hold": "1s"})
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", auto=True))
    enough(served)
    served.now += 2
    await promoter.look()
    enough(served)
    served.now += 2
    served.held[version] = Facts("another", profile=True, canary=True)
    await promoter.look()
    promotion = promoter.state.promotions["m"]
    assert promotion.percent == (10 if version == "3" else 50), "what was known of the file is not known of this one"
    assert f"version {version} has another file" in why(promoter)
    served.now += 2
    await promoter.look()
    assert promoter.state.promotions["m"].percent == promotion.percent
    enough(served)
    await promoter.look()
    assert promoter.state.promotions["m"].step == promotion.step + 1


@pytest.mark.parametrize("guard", ["profile", "canary"])
@on_a_loop
async def test_a_version_without_a_guard_of_the_one_before_is_promoted_only_when_that_is_said(
    tmp_path: Path, guard: str
) -> None:
    served = Served()
    served.held["3"] = replace(served.held["3"], **{guard: False})
    promoter = served.promoter(tmp_path)
    with pytest.raises(ProblemsFound, match=f"(?s)version 3 has no {guard}.*--without-{guard}"):
        await promoter.promote(Wanted("m", "3", force="incident 7"))
    assert served.shared == {}
    await promoter.promote(Wanted("m", "3", without=(guard,)))
    assert saved(tmp_path).promotions["m"].without == (guard,)
    with pytest.raises(ProblemsFound, match=r"there is no guard 'w+'"):
        await promoter.promote(Wanted("m", "3", force="incident 7", without=("w" * 60_000,)))
    assert saved(tmp_path).promotions["m"].without == (guard,)


@on_a_loop
async def test_a_reason_is_one_line_that_can_be_printed(tmp_path: Path) -> None:
    promoter = Served().promoter(tmp_path)
    for reason in ("a\nb", "a\x1b[31m", "a\u2028b"):
        with pytest.raises(ProblemsFound, match="cannot be printed"):
            await promoter.rollback("m", reason)


@on_a_loop
async def test_a_reason_is_bounded_so_that_what_is_written_can_be_read(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    with pytest.raises(ProblemsFound, match="the reason has 501 characters"):
        await promoter.promote(Wanted("m", "3", reason="x" * 501))
    await promoter.promote(Wanted("m", "3", reason="x" * 500))
    with pytest.raises(ProblemsFound, match="the reason has"):
        await promoter.rollback("m", "x" * 501)
