"""Identities that operators look at, restrict and pardon over the admin API."""

import time
from types import SimpleNamespace

import grpc
import pytest

from modelward.admin.identity_calls import _seen
from modelward.admin.limit_calls import MOST_SECONDS
from modelward.detect.restriction import Restriction
from tests.proxy.admin.test_server import Played, code_of, method, talk

GOOD = {"name": "team-a", "model": "a", "step": "round", "seconds": 60.0, "reason": "a reason"}


def test_an_identity_is_restricted_as_it_was_asked_for() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        answer = await method(channel, "RestrictIdentity")(**GOOD)
        (restriction,) = operator.restrictions.set_
        assert (restriction.identity, restriction.model, restriction.step) == ("team-a", "a", "round")
        assert 0 < restriction.until - time.time() <= 60
        (told,) = answer.restrictions
        assert (told.name, told.step, told.reason, told.by) == ("team-a", "round", "a reason", restriction.by)

    talk(test)


def test_a_name_that_may_be_a_slip_is_held_and_that_is_said() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        assert not (await method(channel, "RestrictIdentity")(**GOOD)).notes
        answer = await method(channel, "RestrictIdentity")(**GOOD | {"name": "slip/of the pen"})
        assert [note.what for note in answer.notes] == ["no key has this name"]
        assert (len(answer.restrictions), len(answer.problems)) == (1, 0)

    talk(test)


def test_how_far_a_model_has_learnt_is_told_with_its_suspects_and_in_the_status() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        for told in ((await method(channel, "Suspects")()).learning, (await method(channel, "Status")()).detection):
            (learning,) = told
            assert (learning.model, learning.phase, learning.rows, learning.needed) == ("a", "measuring", 300, 32_768)
            assert [*learning.evidence] == []

    talk(test)


def test_suspects_of_a_model_that_watches_no_identity_are_a_problem() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        (problem,) = (await method(channel, "Suspects")(model="aa")).problems
        assert (problem.what, problem.how) == ("no such model watches identities", "Did you mean a?")
        assert operator.asked is None

    talk(test)


def test_an_answer_tells_only_restrictions_that_the_operator_may_see() -> None:
    some = [Restriction("team-a", model, "tag", 0.0) for model in ("", "a", "b")]
    for sees, seen in ((lambda model: model == "a", ["a"]), (lambda model: True, ["", "a", "b"])):
        assert [each.model for each in _seen(some, SimpleNamespace(sees=sees))] == seen  # type: ignore[arg-type]


def test_a_pardon_says_how_much_was_forgotten() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        answer = await method(channel, "PardonIdentity")(name="team-a", reason="it was a test")
        assert (answer.forgotten, operator.restrictions.pardoned) == (2, [("team-a", "")])
        answer = await method(channel, "PardonIdentity")(all=True, model="a")
        assert (answer.forgotten, operator.restrictions.pardoned[-1]) == (5, ("*", "a"))
        code, _ = await code_of(method(channel, "PardonIdentity")(all=True, name="team-a"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        (problem,) = (await method(channel, "PardonIdentity")(name="team-a", reason="two\nlines")).problems
        assert "cannot be printed" in problem.what

    talk(test)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"seconds": 0.0}, "is no time that a restriction can last"),
        ({"seconds": MOST_SECONDS + 1.0}, "is no time that a restriction can last"),
        ({"seconds": float("nan")}, "is no time that a restriction can last"),
        ({"reason": "two\nlines"}, "cannot be printed"),
    ],
)
def test_what_makes_no_sense_is_told_and_changes_nothing(wrong: dict[str, object], told: str) -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        (problem,) = (await method(channel, "RestrictIdentity")(**GOOD | wrong)).problems
        assert told in problem.what
        assert operator.restrictions.set_ == []

    talk(test)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a*"},
        {"name": "10.0.0.0/8"},
        {"name": "2001:db8::/64"},
        {"name": "a" * 600},
        {"name": "a\n"},
        {"model": "m" * 600},
        {"step": "observe"},
    ],
)
def test_what_is_no_identity_no_model_or_no_step_is_an_error(wrong: dict[str, object]) -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        code, words = await code_of(method(channel, "RestrictIdentity")(**GOOD | wrong))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert len(words) < 300
        assert operator.restrictions.set_ == []

    talk(test)


def test_suspects_are_told_with_their_evidence_and_what_they_get() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        answer = await method(channel, "Suspects")(least="round", most=5)
        assert operator.asked == ("round", 5, "")
        (told,) = answer.suspects
        assert (told.kind, told.name, told.model, told.step, told.gets) == ("key", "team-a", "a", "block", "round")
        assert dict(told.evidence) == {"near": 24.5}
        assert (dict(answer.steps), [*answer.watched]) == ({"block": 1}, ["a"])
        await method(channel, "Suspects")(most=10**6)
        assert operator.asked == ("tag", 1000, "")

    talk(test)
