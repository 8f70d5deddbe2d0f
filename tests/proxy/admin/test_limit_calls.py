"""Limits for a time, asked for over the admin API."""

import time

import grpc
import pytest

from modelward.admin.limit_calls import MOST_SECONDS
from tests.proxy.admin.test_server import BROKEN, Played, code_of, method, talk

GOOD = {"kind": "model", "name": "a", "rate": "100/s", "burst": "7", "seconds": 60.0, "reason": "a reason"}


def test_a_limit_is_set_as_it_was_asked_for() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        answer = await method(channel, "SetLimit")(**GOOD)
        (limit,) = operator.temporary_limits.set_
        assert (limit.kind, limit.name, limit.limit.native, limit.reason) == (
            "model",
            "a",
            (100.0, 7, False),
            "a reason",
        )
        assert 0 < limit.until - time.time() <= 60
        (told,) = answer.limits
        assert (told.limit, told.until, told.by) == ("100/s, burst 7", limit.until, limit.by)
        await method(channel, "SetLimit")(**GOOD | {"rate": "", "time": "250ms/s", "burst": "50ms", "kind": "identity"})
        assert operator.temporary_limits.set_[1].limit.native == (0.25, 50_000_000, True)

    talk(test)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rate": "many"}, "'many' is not a rate"),
        ({"rate": "many", "burst": ""}, "'many' is not a rate"),
        ({"rate": "", "burst": ""}, "neither rate nor time is set"),
        ({"time": "1s/s", "burst": ""}, "rate and time are both set"),
        ({"burst": "0"}, "0 is no number of requests"),
        ({"burst": "9" * 5000}, "burst has 5000 characters"),
        ({"seconds": 0.0}, "is no time that a limit can last"),
        ({"seconds": MOST_SECONDS + 1.0}, "is no time that a limit can last"),
        ({"seconds": float("nan")}, "is no time that a limit can last"),
        ({"reason": "two\nlines"}, "cannot be printed"),
    ],
)
def test_what_makes_no_sense_is_told_and_changes_nothing(wrong: dict[str, object], told: str) -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        (problem,) = (await method(channel, "SetLimit")(**GOOD | wrong)).problems
        assert told in problem.what
        assert len(problem.what) < 500
        assert operator.temporary_limits.set_ == []

    talk(test)


@pytest.mark.parametrize(
    "wrong", [{"kind": "peer"}, {"name": ""}, {"name": "a*"}, {"name": "a" * 600}, {"name": "a\n"}]
)
def test_only_whole_names_of_models_and_identities_have_limits(wrong: dict[str, str]) -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        code, told = await code_of(method(channel, "SetLimit")(**GOOD | wrong))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "is neither a model nor an identity" in told

    talk(test)


def test_why_a_limit_cannot_be_unset_is_told() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        (problem,) = (await method(channel, "UnsetLimit")(kind="model", name="a")).problems
        assert problem.what == BROKEN.what

    talk(test)
