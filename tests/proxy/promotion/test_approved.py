"""Versions that have approvals, those that lose them, and what is said where none answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelward.config.schema import Config
from modelward.models.approved import admitted
from modelward.models.facts import Facts
from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.notes import REMIND_SECONDS, Unanswered
from modelward.promotion.promoter import Promoter
from modelward.promotion.state import Event, Promotion, State
from tests.proxy.promotion.test_guard import arm
from tests.proxy.promotion.test_promoter import Served, on_a_loop, saved
from tests.proxy.promotion.test_unpromoted import restarted

THERE = {"m": ("2", "3")}


def config(versions: dict[str, int] | None = None, **settings: Any) -> Config:
    operators = {"bindings": [{"user": 1, "roles": ["approver"]}]}
    admin, approvals = {"admin": "unix:/run/modelward.sock"}, {"promote": 1, "reload": 1}
    named = {"m": {**settings, **({"versions": versions} if versions is not None else {})}}
    return Config.model_validate({"listen": admin, "operators": operators, "approvals": approvals, "models": named})


def guarded(folder: Path, versions: dict[str, int] | None = None) -> tuple[Served, Promoter]:
    """Version 2 answered when approvals began, and 3 has come since."""
    served = Served()
    served.config = config(versions)
    newer = served.held.pop("3")
    promoter = served.promoter(folder)
    promoter.settle()
    served.held["3"] = newer
    promoter.settle()
    return served, promoter


def weights(served: Served, promoter: Promoter) -> dict[str, int]:
    """By which versions clients are answered, as the workers reckon it."""
    facts, there = {"m": served.facts("m")}, {"m": served.versions("m")}
    found, _ = admitted(served.config, promoter.state.approved, promoter.shares, facts, there)
    return {version: share for version, share in found["m"].items() if share}


async def promote(promoter: Promoter, *steps: int) -> None:
    await promoter.promote(Wanted("m", "3", steps or (100,), force="a test"))


@on_a_loop
async def test_a_version_that_is_taken_back_loses_its_approval(tmp_path: Path) -> None:
    _, promoter = guarded(tmp_path)
    await promote(promoter)
    assert saved(tmp_path).may_answer == {"m": {"3": "", "2": ""}}
    await promoter.rollback("m")
    assert saved(tmp_path).may_answer == {"m": {"2": ""}}
    await promote(promoter)
    assert saved(tmp_path).may_answer == {"m": {"3": "", "2": ""}}, "a promotion gives it one again"


def test_one_that_was_taken_back_is_approved_again_with_the_files_that_it_has_then() -> None:
    promotion = Promotion(version="3", before={"2": 1}, configured=None, steps=(100,), since=1.0, phase="rolled back")
    event = Event(at=1.0, model="m", version="3", what="rolled back")
    before = State(approved={"m": {"2": "x"}}).with_approved("m", "3", "y")
    assert before.with_approved("m", "3", "z").approved == {"m": {"2": "x", "3": "y"}}, "not while it is approved"
    back = before.with_promotion("m", promotion, event)
    assert back.with_approved("m", "3", "z").approved == {"m": {"2": "x", "3": "z"}}


@on_a_loop
async def test_nothing_answers_in_the_place_of_a_version_that_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served, promoter = guarded(tmp_path)
    await promote(promoter)
    gone = served.held.pop("3")
    again = restarted(served, tmp_path, {"m": ("2",)})
    again.settle()
    assert weights(served, again) == {}
    (told,) = (each for each in again.notes if "no version answers" in each)
    assert "version 3 should, and is not there" in told
    assert "modelward rollback m" in told
    assert [each.levelname for each in caplog.records if each.message == told] == ["ERROR"]
    served.held["3"] = gone
    assert weights(served, again) == {"3": 10_000}, "it is back"
    served.held.pop("3")
    await again.rollback("m")
    assert weights(served, again) == {"2": 1}
    # and that which was taken back takes no place either
    served.held = {"3": gone}
    last = restarted(served, tmp_path, {"m": ("3",)})
    last.settle()
    assert weights(served, last) == {}
    (told,) = last.notes
    assert "version 2 should, and is not there. Put its files back, or promote another version" in told
    with pytest.raises(ProblemsFound, match="its first step is all of the requests, and not 5 %"):
        await promote(last, 5, 100)
    await promote(last)
    assert (weights(served, last), last.notes) == ({"3": 10_000}, ())
    with pytest.raises(ProblemsFound, match="no version would answer"):
        await last.rollback("m")
    assert weights(served, last) == {"3": 10_000}


async def promoted_alone(folder: Path) -> tuple[Served, Promoter]:
    """Version 3, while 2 was not there, which is approved too: before it no version had a share."""
    served, promoter = guarded(folder)
    gone = served.held.pop("2")
    await promote(promoter)
    assert promoter.state.promotions["m"].before == {}
    served.held = {"2": gone, **served.held}
    return served, promoter


@on_a_loop
async def test_an_approved_version_that_is_back_answers_once_the_one_in_its_place_is_taken_back(tmp_path: Path) -> None:
    served, promoter = await promoted_alone(tmp_path)
    await promoter.rollback("m", "bad")
    assert weights(served, promoter) == {"2": 1}
    assert saved(tmp_path).events[-1].why.startswith("bad; version 2 has all requests")
    again = restarted(served, tmp_path, THERE)
    again.settle()
    assert (weights(served, again), again.notes) == ({"2": 1}, ())


@on_a_loop
async def test_in_the_place_of_one_that_is_gone_the_newest_that_was_not_taken_back_answers(tmp_path: Path) -> None:
    served, promoter = await promoted_alone(tmp_path)
    await promote(promoter)
    assert promoter.state.promotions["m"].phase == "done"
    for version in ("4", "5"):
        served.held[version] = Facts(version, profile=True, canary=True)
    await promoter.promote(Wanted("m", "5", (100,), force="a test"))
    await promoter.rollback("m")
    assert weights(served, promoter) == {"3": 10_000}, "as before"
    await promoter.promote(Wanted("m", "4", (100,), force="a test"))
    served.held.pop("3")
    await promoter.rollback("m")
    assert weights(served, promoter) == {"2": 1}


@pytest.mark.parametrize("is_back", [True, False])
@on_a_loop
async def test_a_version_that_fails_is_taken_back_whether_another_can_answer_or_not(
    tmp_path: Path, is_back: bool, caplog: pytest.LogCaptureFixture
) -> None:
    served, promoter = await promoted_alone(tmp_path)
    if not is_back:
        served.held.pop("2")
    for errors in (0, 0, 0, 40):
        served.answer(v3=arm(400, errors=errors * 10))
        await promoter.look()
    assert promoter.state.promotions["m"].phase == "rolled back"
    assert weights(served, promoter) == ({"2": 1} if is_back else {})
    words = "version 2 has all requests" if is_back else "no version answers now"
    assert words in saved(tmp_path).events[-1].why
    assert any("rolled back by modelward" in each and words in each for each in caplog.messages)


@on_a_loop
async def test_that_none_answers_is_told_again_each_minute_until_one_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served, promoter = guarded(tmp_path)
    await promote(promoter)
    looks = Unanswered(served, lambda: served.now)

    def told() -> int:
        caplog.clear()
        looks.look(promoter.state, {}, promoter.shares)
        return len(caplog.messages)

    assert told() == 0
    gone = served.held.pop("3")  # a worker was replaced, and its successor did not find it
    assert [told(), told()] == [1, 0]
    served.now += REMIND_SECONDS
    assert [told(), told()] == [1, 0]
    served.held["3"] = gone
    assert told() == 0
    served.held.pop("3")
    assert told() == 1


@on_a_loop
async def test_versions_in_the_configuration_approve_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    served, promoter = guarded(tmp_path, {"2": 1})
    for versions in ({"2": 90, "3": 10}, {"3": 1}):
        promoter.expect(config(versions), THERE)
        served.config = config(versions)
        promoter.settle()
        assert set(weights(served, promoter)) == {"2"}
        assert saved(tmp_path).may_answer == {"m": {"2": ""}}
        assert "models.m.versions: 3: no share before a promotion" in promoter.notes[0]
        assert promoter.notes[0] in caplog.messages
        again = restarted(served, tmp_path, THERE)
        again.settle()
        assert set(weights(served, again)) == {"2"}, "after a restart too"
    await promote(again, 10, 100)
    assert (weights(served, again), again.notes) == ({"2": 9000, "3": 1000}, ())
    await again.rollback("m")
    assert weights(served, again) == {"2": 1}
    promoter.expect(config({"2": 1}), THERE)
    served.config = config({"2": 1})
    assert weights(served, again) == {"2": 1}


@on_a_loop
async def test_a_named_version_that_waits_has_nothing_to_get_back(tmp_path: Path) -> None:
    served, promoter = guarded(tmp_path, {"2": 90, "3": 10})
    await promote(promoter, 50, 100)
    assert weights(served, promoter) == {"2": 5000, "3": 5000}
    await promoter.rollback("m")
    assert weights(served, promoter) == {"2": 90}


@on_a_loop
async def test_a_share_by_the_configuration_is_what_a_step_begins_from(tmp_path: Path) -> None:
    served = Served()
    served.config = config({"2": 90, "3": 10})
    promoter = served.promoter(tmp_path)
    promoter.settle()
    wanted = Wanted("m", "3", (20, 100), force="a test")
    assert promoter.percent(wanted) == (10, 20)
    served.config = config({"2": 50, "3": 50})
    with pytest.raises(ProblemsFound, match="from 50 to 20 % by now, and was proposed from 10 to 20 %"):
        await promoter.promote(Wanted("m", "3", (20, 100), force="a test", percent=(10, 20)))


def test_versions_that_stop_answering_because_approvals_begin_are_told(tmp_path: Path) -> None:
    served = Served()
    served.config = config()
    promoter = served.promoter(tmp_path)
    promoter.settle()
    assert any("answer no client from now on, named or not: m version 3" in note for note in promoter.notes)
